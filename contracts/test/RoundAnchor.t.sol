// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IRoundAnchor} from "../src/IRoundAnchor.sol";
import {RoundAnchor} from "../src/RoundAnchor.sol";
import {TestBase} from "./TestBase.sol";

/// @dev Unit and fuzz tests. This contract is the owner.
contract RoundAnchorTest is TestBase {
    bytes32 private constant JOB = keccak256("job");
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant CHECKPOINT = keccak256("checkpoint");

    RoundAnchor private _anchor;

    function setUp() public {
        _anchor = new RoundAnchor(address(this));
    }

    function test_StartsEmpty() public view {
        assertEq(_anchor.owner(), address(this));
        assertEq(_anchor.tipOf(JOB), bytes32(0));
        assertEq(_anchor.nextRound(JOB), 1);
    }

    function test_EmitsAndMovesTheTip() public {
        bytes32 tip = keccak256(abi.encode(bytes32(0), JOB, uint64(1), ROOT, CHECKPOINT));
        vm.expectEmit();
        emit IRoundAnchor.Anchored(JOB, 1, ROOT, CHECKPOINT, tip);
        _anchor.anchor(JOB, 1, ROOT, CHECKPOINT);
        assertEq(_anchor.tipOf(JOB), tip);
        assertEq(_anchor.nextRound(JOB), 2);
    }

    function test_RefusesZeroRoot() public {
        vm.expectRevert(abi.encodeWithSelector(IRoundAnchor.EmptyRoot.selector));
        _anchor.anchor(JOB, 1, bytes32(0), CHECKPOINT);
    }

    function test_RefusesRoundZero() public {
        vm.expectRevert(abi.encodeWithSelector(IRoundAnchor.RoundOutOfOrder.selector, 1, 0));
        _anchor.anchor(JOB, 0, ROOT, CHECKPOINT);
    }

    function test_RefusesARepeat() public {
        _anchor.anchor(JOB, 1, ROOT, CHECKPOINT);
        vm.expectRevert(abi.encodeWithSelector(IRoundAnchor.RoundOutOfOrder.selector, 2, 1));
        _anchor.anchor(JOB, 1, ROOT, CHECKPOINT);
    }

    function test_OwnershipMovesInTwoSteps() public {
        address next = address(0xA11CE);
        _anchor.transferOwnership(next);
        assertEq(_anchor.owner(), address(this));
        _anchor.anchor(JOB, 1, ROOT, CHECKPOINT);

        vm.prank(next);
        _anchor.acceptOwnership();
        vm.prank(next);
        _anchor.anchor(JOB, 2, ROOT, CHECKPOINT);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        _anchor.anchor(JOB, 3, ROOT, CHECKPOINT);
    }

    function testFuzz_OnlyTheOwnerAnchors(address stranger, bytes32 job, bytes32 root) public {
        vm.assume(stranger != address(this));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
        _anchor.anchor(job, 1, root, CHECKPOINT);
    }

    function testFuzz_OnlyTheNextRound(uint64 given, uint8 before) public {
        uint64 next = uint64(before % 8) + 1;
        for (uint64 round = 1; round < next; ++round) _anchor.anchor(JOB, round, ROOT, CHECKPOINT);
        vm.assume(given != next);
        vm.expectRevert(abi.encodeWithSelector(IRoundAnchor.RoundOutOfOrder.selector, next, given));
        _anchor.anchor(JOB, given, ROOT, CHECKPOINT);
        assertEq(_anchor.nextRound(JOB), next);
    }

    function testFuzz_TipIsTheHashChain(bytes32 job, bytes32[] calldata roots) public {
        bytes32 tip;
        uint64 round;
        for (uint256 i; i < roots.length && i < 16; ++i) {
            if (roots[i] == 0) continue;
            ++round;
            bytes32 checkpoint = keccak256(abi.encode(roots[i]));
            _anchor.anchor(job, round, roots[i], checkpoint);
            tip = keccak256(abi.encode(tip, job, round, roots[i], checkpoint));
        }
        assertEq(_anchor.tipOf(job), tip);
        assertEq(_anchor.nextRound(job), round + 1);
    }

    function testFuzz_JobsDoNotTouch(bytes32 a, bytes32 b, bytes32 root) public {
        vm.assume(a != b && root != 0);
        _anchor.anchor(a, 1, root, CHECKPOINT);
        assertEq(_anchor.tipOf(b), bytes32(0));
        assertEq(_anchor.nextRound(b), 1);
    }

    function testFuzz_LeafIsTaggedAndHashedTwice(bytes32 unit, bytes32 digest) public view {
        bytes32 inner = keccak256(abi.encodePacked(keccak256("atoll/result/1"), unit, digest));
        assertEq(_anchor.resultLeaf(unit, digest), keccak256(abi.encodePacked(inner)));
    }

    function testFuzz_LoneLeafProvesItself(bytes32 unit, bytes32 digest, bytes32 other) public view {
        bytes32[] memory none = new bytes32[](0);
        bytes32 root = _anchor.resultLeaf(unit, digest);
        assertTrue(_anchor.verify(root, unit, digest, none), "a lone leaf is its own root");
        if (other != digest)
            assertTrue(!_anchor.verify(root, unit, other, none), "another digest must not prove");
        if (other != unit)
            assertTrue(!_anchor.verify(root, other, digest, none), "another unit must not prove");
    }

    function testFuzz_PairsAreSorted(bytes32 unitA, bytes32 unitB, bytes32 digest) public view {
        vm.assume(unitA != unitB);
        (bytes32 a, bytes32 b) = (_anchor.resultLeaf(unitA, digest), _anchor.resultLeaf(unitB, digest));
        bytes32 root = a < b ? keccak256(abi.encodePacked(a, b)) : keccak256(abi.encodePacked(b, a));
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = b;
        assertTrue(_anchor.verify(root, unitA, digest, proof), "left or right");
        proof[0] = a;
        assertTrue(_anchor.verify(root, unitB, digest, proof), "right or left");
        assertTrue(!_anchor.verify(root, unitA, digest, proof), "a leaf is not its own sibling");
    }
}
