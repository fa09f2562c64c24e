/**
 * The frames of a contributor from templates, and those of the coordinator by looking at fixed places: the generator shares the machine with what it
 * measures, so it must cost little. Bytes are those of the real codec; `wire.test.ts` compares them.
 */
import { createHash } from 'node:crypto';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { encodeFrame } from '#protocol/messages/frames.ts';
import { encodeResult } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { lossCid } from '../work.ts';

/** Bytes with holes, each where a filler of a known look is. */
interface Template {
  bytes: Buffer;
  holes: number[];
}

function template(bytes: Uint8Array, fillers: readonly (Uint8Array | Hex)[]): Template {
  const buffer = Buffer.from(bytes);
  return {
    bytes: buffer,
    holes: fillers.map((filler) => buffer.indexOf(typeof filler === 'string' ? Buffer.from(filler) : filler)),
  };
}

function filled({ bytes, holes }: Template, values: readonly (Hex | Uint8Array)[]): Buffer {
  const copy = Buffer.from(bytes);
  values.forEach((value, i) => {
    if (typeof value === 'string') copy.write(value, holes[i] as number, 'latin1');
    else copy.set(value, holes[i]);
  });
  return copy;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

const anyUnit = Uint8Array.of(1);
const anyResult = encodeResult({
  v: 1,
  unit: cidOfSync(anyUnit, cborCode),
  outputs: { loss: lossCid },
});
const resultTemplate = template(anyResult, [sha256(anyUnit)]);

/** The result document of the unit with these bytes. */
export function resultFor(unit: Uint8Array): Buffer {
  return filled(resultTemplate, [sha256(unit)]);
}

const filler = {
  assignment: `0x${'a1'.repeat(32)}` as Hex,
  second: `0x${'b2'.repeat(32)}` as Hex,
  signature: `0x${'c3'.repeat(64)}1b` as Hex,
};
const commitTemplate = template(
  encodeFrame({
    t: 'commit',
    assignment: filler.assignment,
    commitment: filler.second,
    signature: filler.signature,
  }),
  [filler.assignment, filler.second, filler.signature],
);
const revealTemplate = template(
  encodeFrame({
    t: 'reveal',
    assignment: filler.assignment,
    salt: filler.second,
    result: anyResult,
    signature: filler.signature,
  }),
  [filler.assignment, filler.second, anyResult],
);

export const askFrame = encodeFrame({ t: 'ask' });

export function commitFrame(assignment: Hex, commitment: Hex, signature: Hex): Buffer {
  return filled(commitTemplate, [assignment, commitment, signature]);
}

/** With a signature of filler: an opening that matches needs none. */
export function revealFrame(assignment: Hex, salt: Hex, result: Uint8Array): Buffer {
  return filled(revealTemplate, [assignment, salt, result]);
}

/** The `t` of a frame: canonical DAG-CBOR puts the shortest key first, and its value is a short text. */
export function typeOf(frame: Buffer): string {
  return frame.toString('latin1', 4, valueEnd(frame));
}

function valueEnd(frame: Buffer): number {
  return 4 + ((frame[3] as number) & 31);
}

/** `assignment` is the longest key of every frame that has it, so its value comes last. */
export function assignmentOf(frame: Buffer): Hex {
  return frame.toString('latin1', frame.length - 66) as Hex;
}

/** The workunit in a lease: its second entry, `unit`, a byte string. */
export function unitOf(lease: Buffer): Buffer {
  const at = valueEnd(lease) + 5;
  if (lease[at] === 0x58) return lease.subarray(at + 2, at + 2 + (lease[at + 1] as number));
  if (lease[at] === 0x59) return lease.subarray(at + 3, at + 3 + lease.readUInt16BE(at + 1));
  throw new Error('The unit of a lease has no length of one or two bytes.');
}
