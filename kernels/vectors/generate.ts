/**
 * Writes conformance.json from the reference: `node --import ./scripts/raw-hooks.ts kernels/vectors/generate.ts`.
 * Only for a change that is meant to change bits or cases; a changed bit is a new version of every program (NUMERICS.md, Identity).
 */
import { writeFileSync } from 'node:fs';
import { conformanceCases } from '../device/conformance.ts';
import { createCpuDevice } from '../device/cpu.ts';
import { type CaseDigests, transcribe } from './transcript.ts';

const device = createCpuDevice();
const digests: Record<string, CaseDigests> = {};
for (const given of conformanceCases) digests[given.id] = await transcribe(given, device);
writeFileSync(new URL('conformance.json', import.meta.url), `${JSON.stringify(digests, null, 1)}\n`);
