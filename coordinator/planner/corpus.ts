/**
 * The text a job trains on: checked, measured, and cut into windows. One byte is one token.
 *
 * The tail is held out (exactly what the held-out windows need); the rest is cut into windows of T + 1 bytes with stride T, so every byte but
 * the first is predicted once an epoch.
 */
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Job, Training } from '#protocol/messages/job.ts';

export interface CorpusShape {
  /** Windows that one epoch trains on, before whole rounds are taken from them. */
  windows: number;
  /** The windows of a lane within its round: from, to. */
  windowsOfLane(lane: number): [from: number, to: number];
  windowsPerRound: number;
  roundsPerEpoch: number;
  /** Where the held-out bytes start. */
  heldOutAt: number;
  bytesNeeded: number;
}

/** Throws `bad_input` on text that is empty, too large or not UTF-8. */
export function checkText(bytes: Uint8Array): void {
  if (bytes.byteLength === 0) {
    throw new AtollError('bad_input', 'The text is empty. Give a UTF-8 text file with some content.');
  }
  if (bytes.byteLength > limits.textBytesMax) {
    throw new AtollError(
      'bad_input',
      `The text has ${bytes.byteLength} bytes; at most ${limits.textBytesMax} are supported. Give a shorter file.`,
    );
  }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new AtollError('bad_input', 'The text is not UTF-8. Convert the file, for example with iconv.', {
      cause,
    });
  }
}

/** Nats per byte of the best model that knows only how often each byte occurs. Zero for an empty text. */
export function unigramEntropy(bytes: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte] = (counts[byte] as number) + 1;
  let entropy = 0;
  for (const count of counts) {
    if (count > 0) entropy -= (count / bytes.byteLength) * Math.log(count / bytes.byteLength);
  }
  return entropy;
}

/** Sequences in a step of each lane: lanes of one job may be of different sizes, for devices of different tiers. */
export function batchesOf({ lanes, batch, batches }: Training): readonly number[] {
  return batches ?? Array.from({ length: lanes }, () => batch);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** How a job cuts its text. Throws `bad_input` when the text is too short for one round, naming the bytes needed. */
export function corpusShape(job: Job, sizeBytes: number): CorpusShape {
  const { T } = job.model;
  const { lanes, steps, heldOut } = job.training;
  const batches = batchesOf(job.training);
  const windowsUpTo = (lane: number) => steps * sum(batches.slice(0, lane));
  const windowsPerRound = windowsUpTo(lanes);
  const heldOutBytes = heldOut * T + 1;
  const bytesNeeded = windowsPerRound * T + 1 + heldOutBytes;
  if (sizeBytes < bytesNeeded) {
    throw new AtollError(
      'bad_input',
      `The text has ${sizeBytes} bytes; one round needs ${bytesNeeded} (${lanes} lanes of ${steps} steps of ${[...new Set(batches)].join(' or ')} windows of ${T} bytes, and ${heldOut} held-out windows). Give a longer text, or fewer lanes, steps or windows.`,
      { details: { sizeBytes, bytesNeeded } },
    );
  }
  const heldOutAt = sizeBytes - heldOutBytes;
  const windows = Math.floor((heldOutAt - 1) / T);
  return {
    windows,
    windowsOfLane: (lane) => [windowsUpTo(lane), windowsUpTo(lane + 1)],
    windowsPerRound,
    roundsPerEpoch: Math.floor(windows / windowsPerRound),
    heldOutAt,
    bytesNeeded,
  };
}

/** The given windows of T + 1 bytes, stride T from `start`, one after the other. */
export function packWindows(
  corpus: Uint8Array,
  T: number,
  indices: ArrayLike<number>,
  start = 0,
): Uint8Array {
  const packed = new Uint8Array(indices.length * (T + 1));
  for (let i = 0; i < indices.length; i++) {
    const at = start + (indices[i] as number) * T;
    packed.set(corpus.subarray(at, at + T + 1), i * (T + 1));
  }
  return packed;
}
