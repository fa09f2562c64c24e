// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title IRoundAnchor
/// @notice The public record of a network's rounds: for every job a hash chain with one link a round.
/// @dev A link binds the round's Merkle root over accepted results and its checkpoint to everything before it, so that 32 bytes of storage
/// (the tip) commit to the whole history and the events carry it. Nothing is ever rewritten: there is no upgrade and no way back.
/// A job and a checkpoint are named by the sha2-256 digest inside their CID.
interface IRoundAnchor {
    /// @notice A round was anchored.
    /// @param job The job's digest.
    /// @param round The round's number; the first is 1.
    /// @param root The Merkle root over the round's accepted results.
    /// @param checkpoint The digest of the checkpoint that the round ended with.
    /// @param tip The hash chain's new tip.
    event Anchored(bytes32 indexed job, uint64 indexed round, bytes32 root, bytes32 checkpoint, bytes32 tip);

    /// @notice The round is not the next one of this job.
    error RoundOutOfOrder(uint64 expected, uint64 given);

    /// @notice A round without an accepted result has no root and is not anchored.
    error EmptyRoot();

    /// @notice Anchors the next round of a job. Only the owner (the coordinator's key) may.
    /// @dev tip' = keccak256(abi.encode(tip, job, round, root, checkpoint)); the tip of a job without rounds is zero.
    /// @param job The job's digest.
    /// @param round Must be `nextRound(job)`: a repeated or reordered transaction changes nothing.
    /// @param root Not zero.
    /// @param checkpoint The digest of the checkpoint that the round ended with.
    function anchor(bytes32 job, uint64 round, bytes32 root, bytes32 checkpoint) external;

    /// @notice The tip of a job's hash chain; zero before its first round.
    function tipOf(bytes32 job) external view returns (bytes32);

    /// @notice The number that a job's next round must have; 1 before its first.
    function nextRound(bytes32 job) external view returns (uint64);

    /// @notice The leaf of one accepted result: keccak256(keccak256(keccak256("atoll/result/1") | unit | digest)).
    /// @dev Tagged and hashed twice, so that a leaf can be neither an inner node nor a leaf of another tree.
    /// @param unit The digest of the workunit's CID.
    /// @param digest The digest of the result's CID.
    function resultLeaf(bytes32 unit, bytes32 digest) external pure returns (bytes32);

    /// @notice Whether a result is among those that `root` was built over.
    /// @dev Says nothing of whether `root` is anchored: compare it with the `Anchored` event of the round.
    /// @param root The Merkle root.
    /// @param unit The digest of the workunit's CID.
    /// @param digest The digest of the result's CID.
    /// @param proof Siblings from the leaf up; pairs are hashed in sorted order.
    function verify(
        bytes32 root,
        bytes32 unit,
        bytes32 digest,
        bytes32[] calldata proof
    ) external pure returns (bool);
}
