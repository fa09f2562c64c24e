// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {RoundAnchor} from "../src/RoundAnchor.sol";
import {TestBase} from "./TestBase.sol";

/// @dev Drives RoundAnchor as its owner, well and badly, over a few jobs, and keeps its own record of what was accepted.
contract AnchorHandler is TestBase {
    struct Round {
        bytes32 root;
        bytes32 checkpoint;
    }

    uint256 public constant JOBS = 3;

    RoundAnchor public immutable anchorage;
    mapping(bytes32 job => Round[] rounds) private _rounds;

    constructor() {
        anchorage = new RoundAnchor(address(this));
    }

    function jobAt(uint256 index) public pure returns (bytes32) {
        return keccak256(abi.encode("job", index % JOBS));
    }

    function roundsOf(bytes32 job) external view returns (Round[] memory) {
        return _rounds[job];
    }

    function next(uint256 index, bytes32 root, bytes32 checkpoint) external {
        bytes32 job = jobAt(index);
        if (root == 0) root = bytes32(uint256(1));
        anchorage.anchor(job, uint64(_rounds[job].length + 1), root, checkpoint);
        _rounds[job].push(Round(root, checkpoint));
    }

    function anyRound(uint256 index, uint64 round, bytes32 root) external {
        bytes32 job = jobAt(index);
        bool valid = root != 0 && round == _rounds[job].length + 1;
        try anchorage.anchor(job, round, root, bytes32(0)) {
            assertTrue(valid, "an invalid round was accepted");
            _rounds[job].push(Round(root, bytes32(0)));
        } catch {
            assertTrue(!valid, "a valid round was refused");
        }
    }

    function asStranger(address stranger, uint256 index, bytes32 root) external {
        if (stranger == address(this)) return;
        bytes32 job = jobAt(index);
        uint64 round = uint64(_rounds[job].length + 1);
        vm.prank(stranger);
        try anchorage.anchor(job, round, root, bytes32(0)) {
            assertTrue(false, "a stranger anchored");
        } catch {} // solhint-disable-line no-empty-blocks
    }
}

contract RoundAnchorInvariantTest is TestBase {
    AnchorHandler private _handler;

    function setUp() public {
        _handler = new AnchorHandler();
        targetContract(address(_handler));
    }

    /// @dev Whatever was tried, every tip is the hash chain over exactly the accepted rounds, which count from 1.
    function invariant_TipCommitsToTheWholeHistory() public view {
        RoundAnchor anchorage = _handler.anchorage();
        for (uint256 index; index < _handler.JOBS(); ++index) {
            bytes32 job = _handler.jobAt(index);
            AnchorHandler.Round[] memory rounds = _handler.roundsOf(job);
            bytes32 tip;
            for (uint256 i; i < rounds.length; ++i) {
                tip = keccak256(abi.encode(tip, job, uint64(i + 1), rounds[i].root, rounds[i].checkpoint));
            }
            assertEq(anchorage.tipOf(job), tip);
            assertEq(anchorage.nextRound(job), rounds.length + 1);
        }
    }
}
