/**
 * A device that notes all it is asked: sizes, written words, ops and their arguments. The hash of the notes is the hash of a case's inputs, so that
 * committed digests are known to be stale when a case changes.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Device, Ops } from '../device/device.ts';
import type { Case } from './case.ts';
import { digestWords } from './digest.ts';

export interface CaseDigests {
  /** Of what the case asks for. */
  inputs: string;
  /** Of the words it gets. */
  outputs: string;
}

/** Runs a case on a device and notes what it asks. */
export async function transcribe(given: Case, device: Device): Promise<CaseDigests> {
  const notes = sha256.create();
  const note = (...parts: unknown[]) => void notes.update(utf8ToBytes(`${JSON.stringify(parts)}\n`));
  note(given.id, given.inputs ? digestWords(given.inputs()) : null);
  const outputs = digestWords(await given.run(noting(device, note, new Map())));
  return { inputs: bytesToHex(notes.digest()).slice(0, 16), outputs };
}

type Note = (...parts: unknown[]) => void;

function noting(device: Device, note: Note, names: Map<unknown, string>): Device {
  const named = <T>(thing: T): T => {
    names.set(thing, `#${names.size}`);
    return thing;
  };
  const plain = (_: string, value: unknown): unknown => names.get(value) ?? value;
  return {
    ...device,
    scope: () => noting(device.scope(), note, names),
    tensor(size) {
      note('tensor', size);
      return named(device.tensor(size));
    },
    quantized(...shape) {
      note('quantized', ...shape);
      return named(device.quantized(...shape));
    },
    write(tensor, words, at = 0) {
      const bits = new Uint32Array(words.buffer, words.byteOffset, words.length);
      note('write', names.get(tensor), at, digestWords(bits));
      device.write(tensor, words, at);
    },
    record: (build) =>
      device.record((ops) => {
        const noted = Object.entries(ops).map(([name, op]) => [
          name,
          (args: never) => {
            note(name, JSON.stringify(args, plain));
            op(args);
          },
        ]);
        build(Object.fromEntries(noted) as Ops);
      }),
  };
}
