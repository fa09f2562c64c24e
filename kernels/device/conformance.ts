/**
 * The conformance suite: every op, at the sizes and values where an implementation could go wrong. Runs on any device; the reference's digests are
 * committed in vectors/conformance.json.
 */
import type { Case } from '../vectors/case.ts';
import { digestWords } from '../vectors/digest.ts';
import { functionCases } from '../vectors/function-cases.ts';
import { opCases } from '../vectors/op-cases.ts';
import type { Device } from './device.ts';

export const conformanceCases: readonly Case[] = [...opCases, ...functionCases];

export interface ConformanceOptions {
  cases?: readonly Case[];
  signal?: AbortSignal;
  progress?: (id: string) => void;
}

/** Digest of each case on this device, by id. A case that throws has the error's text instead. */
export async function runConformance(
  device: Device,
  { cases = conformanceCases, signal, progress }: ConformanceOptions = {},
): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const { id, run } of cases) {
    signal?.throwIfAborted();
    progress?.(id);
    digests[id] = await run(device).then(digestWords, (error: unknown) => `failed: ${String(error)}`);
  }
  return digests;
}
