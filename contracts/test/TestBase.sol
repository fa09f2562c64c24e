// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev The cheatcodes of Hardhat's EDR that these tests use (the same addresses and names as Foundry's).
interface Cheats {
    function prank(address sender) external;
    function expectRevert(bytes calldata revertData) external;
    function expectEmit() external;
    function assume(bool condition) external pure;
}

/// @dev A test contract's base, in place of forge-std: assertions that say both sides, and what the invariant runner asks for.
abstract contract TestBase {
    Cheats internal constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));

    // Read by the runner: a contract with this flag is a test.
    bool public constant IS_TEST = true;

    address[] private _targets;

    error NotEqual(bytes32 actual, bytes32 expected);
    error NotTrue(string what);

    /// @dev The contracts that an invariant run calls; the runner asks for this name.
    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    function targetContract(address target) internal {
        _targets.push(target);
    }

    function assertEq(bytes32 actual, bytes32 expected) internal pure {
        if (actual != expected) revert NotEqual(actual, expected);
    }

    function assertEq(uint256 actual, uint256 expected) internal pure {
        assertEq(bytes32(actual), bytes32(expected));
    }

    function assertEq(address actual, address expected) internal pure {
        assertEq(uint160(actual), uint160(expected));
    }

    function assertTrue(bool condition, string memory what) internal pure {
        if (!condition) revert NotTrue(what);
    }
}
