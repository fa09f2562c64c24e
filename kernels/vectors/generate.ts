/**
 * Writes what is committed of the reference: `node --import ./scripts/raw-hooks.ts kernels/vectors/generate.ts [conformance | curves]`.
 * Only for a change that is meant to change bits or cases; a changed bit is a new version of every program (NUMERICS.md, Identity).
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { policySchema } from '#protocol/messages/model.ts';
import { conformanceCases } from '../device/conformance.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { curveBits, curveSteps, trainingLosses } from './curves.ts';
import { type CaseDigests, transcribe } from './transcript.ts';

const what = process.argv[2] ?? 'conformance';
const device = createCpuDevice();
const write = (name: string, contents: unknown) =>
  writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(contents, null, 1)}\n`);

async function conformance(): Promise<void> {
  const digests: Record<string, CaseDigests> = {};
  for (const given of conformanceCases) digests[given.id] = await transcribe(given, device);
  write('conformance.json', digests);
}

async function curves(): Promise<void> {
  const text = readFileSync(new URL('english.txt', import.meta.url));
  const all: Record<string, string[]> = {};
  for (const policy of policySchema.options) {
    all[policy] = curveBits(await trainingLosses(device, policy, text, curveSteps));
  }
  write('curves.json', all);
}

if (what === 'conformance') await conformance();
else if (what === 'curves') await curves();
else throw new Error(`Nothing is called "${what}" here: conformance or curves.`);
