// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IRoundAnchor} from "./IRoundAnchor.sol";

/// @title RoundAnchor
/// @notice The public record of a network's rounds; IRoundAnchor says what each function does.
/// @dev The owner can be exchanged in two steps when the coordinator's key changes. An owner who renounces freezes the record for good.
contract RoundAnchor is IRoundAnchor, Ownable2Step {
    /// @dev Two words a job, whatever the number of its rounds.
    struct Chain {
        bytes32 tip;
        uint64 rounds;
    }

    bytes32 private constant RESULT_TAG = keccak256("atoll/result/1");

    mapping(bytes32 job => Chain chain) private _chains;

    constructor(address coordinator) Ownable(coordinator) {}

    /// @inheritdoc IRoundAnchor
    function anchor(bytes32 job, uint64 round, bytes32 root, bytes32 checkpoint) external onlyOwner {
        if (root == 0) revert EmptyRoot();
        Chain storage chain = _chains[job];
        uint64 expected = chain.rounds + 1;
        if (round != expected) revert RoundOutOfOrder(expected, round);

        bytes32 tip = keccak256(abi.encode(chain.tip, job, round, root, checkpoint));
        chain.tip = tip;
        chain.rounds = round;
        emit Anchored(job, round, root, checkpoint, tip);
    }

    /// @inheritdoc IRoundAnchor
    function tipOf(bytes32 job) external view returns (bytes32) {
        return _chains[job].tip;
    }

    /// @inheritdoc IRoundAnchor
    function nextRound(bytes32 job) external view returns (uint64) {
        return _chains[job].rounds + 1;
    }

    /// @inheritdoc IRoundAnchor
    function resultLeaf(bytes32 unit, bytes32 digest) public pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(RESULT_TAG, unit, digest))));
    }

    /// @inheritdoc IRoundAnchor
    function verify(
        bytes32 root,
        bytes32 unit,
        bytes32 digest,
        bytes32[] calldata proof
    ) external pure returns (bool) {
        return MerkleProof.verifyCalldata(proof, root, resultLeaf(unit, digest));
    }
}
