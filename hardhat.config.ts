/**
 * Hardhat builds and tests the contracts, offline: the compiler is the npm package `solc` (JavaScript), never a download.
 *
 * `npx hardhat test` runs the Solidity tests (unit, fuzz, invariant) and the TypeScript tests beside them. Telemetry is off whatever the environment says.
 */
import { createRequire } from 'node:module';
import hardhatNodeTestRunner from '@nomicfoundation/hardhat-node-test-runner';
import hardhatViem from '@nomicfoundation/hardhat-viem';
import { defineConfig } from 'hardhat/config';

process.env.HARDHAT_DISABLE_TELEMETRY = 'true';
const require = createRequire(import.meta.url);

export default defineConfig({
  plugins: [hardhatViem, hardhatNodeTestRunner],
  paths: {
    sources: 'contracts/src',
    tests: { solidity: 'contracts/test', nodejs: 'contracts/test' },
    cache: 'contracts/cache',
    artifacts: 'contracts/artifacts',
  },
  solidity: {
    version: '0.8.37',
    path: require.resolve('solc/soljson.js'),
    settings: {
      // No trailing metadata hash: the bytecode then depends on the code alone, so that the committed one can be compared.
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      optimizer: { enabled: true, runs: 10_000 },
      evmVersion: 'cancun',
    },
  },
  networks: {
    default: { type: 'edr-simulated', chainType: 'l1', hardfork: 'prague' },
  },
  test: {
    solidity: {
      fuzz: { runs: 256, seed: '0x61746f6c6c' },
      invariant: { runs: 64, depth: 100, failOnRevert: true },
    },
  },
});
