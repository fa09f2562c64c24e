/**
 * The conformance suite as something to show: every op case and every program on one device, each the same as the committed digest or not, and where it
 * differs the first element that does, with the reference's bits beside it, computed anew on the spot.
 *
 * Nothing here needs a file system or a network: it runs in a page's worker, in Node, in Deno.
 */
import type { Case } from '../vectors/case.ts';
import conformance from '../vectors/conformance.json' with { type: 'json' };
import { combineDigests, digestWords } from '../vectors/digest.ts';
import programs from '../vectors/programs.json' with { type: 'json' };
import { runProgramVectors } from '../vectors/programs.ts';
import type { CaseOutcome, Difference } from './conformance-outcome.ts';
import { conformanceCases } from './conformance.ts';
import { createCpuDevice } from './cpu.ts';
import type { Device } from './device.ts';

export interface ExamineOptions {
  /** All of the suite unless given. */
  cases?: readonly Case[];
  /** Whether whole programs are run too; they are unless it says false. */
  programs?: boolean;
  signal?: AbortSignal;
  /** After every case. */
  progress?: (done: number, total: number, outcome: CaseOutcome) => void;
}

const digests: Record<string, { outputs: string }> = conformance;
const programDigests: Record<string, string> = programs;
const programId = (name: string) => `program/${name}`;

/** Digest of each case by id: what a device has to give. */
export function expectedDigests(): Record<string, string> {
  const cases = Object.entries(digests).map(([id, { outputs }]) => [id, outputs] as const);
  const whole = Object.entries(programDigests).map(([name, cid]) => [programId(name), cid] as const);
  return Object.fromEntries([...cases, ...whole]);
}

/** Which suite it was: a digest over all that has to be given. */
export const suiteDigest = (): string => combineDigests(Object.entries(expectedDigests()));

/** Cases in flight on a GPU: most of a small case's time is waiting for its results. */
const widthOnGpu = 8;

/** Runs the suite on a device. A case that throws is an outcome; only the signal ends the run early. */
export async function examine(device: Device, options: ExamineOptions = {}): Promise<CaseOutcome[]> {
  const { cases = conformanceCases, signal, progress } = options;
  const names = options.programs === false ? [] : Object.keys(programDigests);
  const total = cases.length + names.length;
  let done = 0;
  const noted = (outcome: CaseOutcome) => (progress?.(++done, total, outcome), outcome);
  const outcomes: CaseOutcome[] = [];
  const waiting = [...cases.entries()];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      signal?.throwIfAborted();
      outcomes[next[0]] = noted(await examineCase(device, next[1]));
    }
  };
  const width = device.info.backend === 'webgpu' ? widthOnGpu : 1;
  await Promise.all(Array.from({ length: width }, worker));
  if (names.length === 0) return outcomes;
  signal?.throwIfAborted();
  return [...outcomes, ...(await examinePrograms(device, names)).map(noted)];
}

/** One case against its committed digest; `expected` replaces that in tests. */
export async function examineCase(
  device: Device,
  given: Case,
  expected = digests[given.id]?.outputs,
): Promise<CaseOutcome> {
  const { id } = given;
  try {
    const got = await given.run(device);
    if (digestWords(got) === expected) return { id, same: true };
    const reference = createCpuDevice();
    try {
      return { id, same: false, ...compare(await given.run(reference), got) };
    } finally {
      reference.destroy();
    }
  } catch (error) {
    return { id, same: false, error: wordsOf(error) };
  }
}

/** The first difference between two lists of words, or in words why there is none. */
export function compare(
  expected: Uint32Array,
  got: Uint32Array,
): { difference: Difference } | { error: string } {
  if (expected.length !== got.length) return { error: `gave ${got.length} words, not ${expected.length}` };
  let first = -1;
  let count = 0;
  for (let i = 0; i < got.length; i++) {
    if (got[i] === expected[i]) continue;
    if (first < 0) first = i;
    count++;
  }
  // Then this engine's own arithmetic is what differs, and the reference with it.
  if (first < 0) return { error: 'equals the reference as it runs here, but not the committed digest' };
  const bits = (words: Uint32Array) => `0x${(words[first] as number).toString(16).padStart(8, '0')}`;
  return { difference: { at: first, of: got.length, count, expected: bits(expected), got: bits(got) } };
}

async function examinePrograms(device: Device, names: readonly string[]): Promise<CaseOutcome[]> {
  try {
    const got = await runProgramVectors(device);
    return names.map((name) => {
      const id = programId(name);
      if (got[name] === programDigests[name]) return { id, same: true };
      return {
        id,
        same: false,
        error: `the result is ${got[name] ?? 'missing'}, not ${programDigests[name]}`,
      };
    });
  } catch (error) {
    return names.map((name) => ({ id: programId(name), same: false, error: wordsOf(error) }));
  }
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
