/**
 * A contributor in a process of its own, to be killed: `node pending-child.ts URL KEY_FILE MS`. Everything of it is real (socket, key, pending results on disk) but for the
 * arithmetic, which is the coordinator tests' own and takes MS milliseconds a unit.
 */
import { knownPrograms } from '#coordinator/planner/programs.ts';
import { fakeExecute } from '#coordinator/testing/fake-programs.ts';
import type { Hex } from 'viem';
import { createRuntime } from '../../runtime/contributor.ts';
import type { Compute, ComputeDevice, Logger } from '../../runtime/ports.ts';
import { nodePorts } from '../contributor.ts';
import { loadSigner } from '../key-file.ts';

const [url, keyFile, ms] = process.argv.slice(2) as [string, string, string];
const probe: Hex = `0x${'11'.repeat(32)}`;

const device: ComputeDevice = {
  info: { backend: 'reference', label: 'child', vendor: 'none', software: true },
  programs: [...knownPrograms],
  probeDigest: probe,
  lost: new Promise(() => undefined),
  probe: async () => probe,
  execute: async (unit, { blocks }) => {
    await new Promise((resolve) => setTimeout(resolve, Number(ms)));
    return fakeExecute(unit, blocks);
  },
  close: async () => undefined,
};
const compute: Compute = { open: async () => device };

const say = (fields: object, message: string) => console.log(JSON.stringify({ ...fields, message }));
const log: Logger = { debug: () => undefined, info: say, warn: say, error: say };

const signer = await loadSigner(keyFile);
const control = createRuntime(nodePorts({ url, signer, compute, log, keyFile }));
await control.subscribe(({ phase, pending }) => say({ phase, pending }, 'view'));
await control.start();
say({ contributor: signer.address }, 'Started.');
