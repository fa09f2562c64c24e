/**
 * The conformance probe: what a device runs when it joins, through the kernels that do the work. A wrong digest means no exact work for it.
 *
 * A part of the conformance suite that takes about a second, most of it compilation: every op, every width, both roundings, the edges of the
 * range.
 */
import type { Hex } from 'viem';
import { combineDigests, digestWords } from '../vectors/digest.ts';
import { opCases } from '../vectors/op-cases.ts';
import type { Device } from './device.ts';

/** Digest of the reference, committed; a test recomputes it. */
export const probeDigest: Hex = '0xd26d92e9ffa8dc2258c781b90ec0cc89261d8e8a9e4d2a37b1277913b05b4b23';

/** Cases go side by side, so that a GPU compiles their pipelines at once. */
export async function runProbe(device: Device): Promise<Hex> {
  const cases = opCases.filter(({ probe }) => probe);
  const digests = await Promise.all(
    cases.map(async ({ id, run }) => [id, digestWords(await run(device))] as const),
  );
  return `0x${combineDigests(digests)}`;
}
