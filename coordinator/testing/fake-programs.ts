/**
 * Stand-ins for the numerics in the coordinator's own tests: deterministic functions of a unit's bytes and inputs, with outputs of the right
 * names and codecs. What a model learns is not the coordinator's business; that equal work gives equal digests is.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { encodeCanonical, linkOf, linksOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync, parseCid, rawCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Job, ModelConfig } from '#protocol/messages/job.ts';
import { encodeWorkunit, type Result, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import { floatToBits } from '../planner/optimiser.ts';

/** A job that a fake network finishes in moments; the text has room for several rounds an epoch. */
export function testJob(changes: Partial<Job['training']> = {}, name = 'test'): Omit<Job, 'corpus'> {
  return {
    v: 1,
    kind: 'train',
    name,
    model: { L: 1, C: 8, NH: 1, T: 4, V: 256 },
    policy: 'i10sr',
    training: {
      lanes: 2,
      steps: 2,
      batch: 2,
      lr: floatToBits(1e-3),
      warmup: 4,
      beta1: floatToBits(0.9),
      beta2: floatToBits(0.95),
      eps: floatToBits(1e-8),
      weightDecay: floatToBits(0.1),
      outerLr: floatToBits(1),
      outerMomentum: floatToBits(0.7),
      heldOut: 4,
      ...changes,
    },
    seed: 7,
  };
}

export function testText(sizeBytes = 600): Uint8Array {
  return utf8ToBytes('The quick brown fox jumps over the lazy dog. '.repeat(40)).subarray(0, sizeBytes);
}

/** `count` raw blocks that depend on `seed` alone, and a manifest that links to them. */
async function manifest(blocks: BlockStore, seed: Uint8Array, count: number): Promise<Cid> {
  const parts: Cid[] = [];
  for (let i = 0; i < count; i++) {
    parts.push(
      await blocks.put(concatBytes(sha256(concatBytes(seed, Uint8Array.of(i))), new Uint8Array(200))),
    );
  }
  return blocks.put(encodeCanonical({ v: 1, parts: parts.map(linkOf) }), cborCode);
}

export function fakeInitialCheckpoint(model: ModelConfig, seed: number, blocks: BlockStore): Promise<Cid> {
  return manifest(blocks, sha256(utf8ToBytes(JSON.stringify([model, seed]))), 3);
}

/** Runs a unit: reads every input down to its leaves, so that a missing block shows, and puts the outputs. */
export async function fakeExecute(unit: Workunit, blocks: BlockStore, lie = ''): Promise<Result> {
  const hash = sha256.create().update(encodeWorkunit(unit)).update(utf8ToBytes(lie));
  for (const name of Object.keys(unit.inputs).sort()) {
    const cid = unit.inputs[name] as Cid;
    const bytes = await blocks.get(cid);
    hash.update(bytes);
    if (parseCid(cid).code === cborCode)
      for (const link of linksOf(bytes)) hash.update(await blocks.get(link));
  }
  const seed = hash.digest();
  const program = unit.program.split('@')[0];
  const outputs: Record<string, Cid> = {};
  if (program === 'train.steps') {
    outputs['update'] = await manifest(blocks, concatBytes(seed, utf8ToBytes('u')), 3);
    outputs['losses'] = await blocks.put(floats(seed, unit.params['steps'] as number));
  } else if (program === 'train.outer') {
    outputs['update'] = await manifest(blocks, concatBytes(seed, utf8ToBytes('u')), 2);
    outputs['checkpoint'] = await manifest(blocks, concatBytes(seed, utf8ToBytes('c')), 20);
    outputs['packed'] = await manifest(blocks, concatBytes(seed, utf8ToBytes('p')), 1);
  } else {
    outputs['loss'] = await blocks.put(floats(seed, 1));
  }
  return { v: 1, unit: workunitId(unit), outputs };
}

/** Little-endian f32 between 1 and 5. */
function floats(seed: Uint8Array, count: number): Uint8Array {
  const bytes = new Uint8Array(4 * count);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) view.setFloat32(4 * i, 1 + (seed[i % 32] as number) / 64, true);
  return bytes;
}

/** Blocks in memory; `fetchBlock` is asked for those that are not there. */
export class MemoryBlocks implements BlockStore {
  readonly map = new Map<Cid, Uint8Array>();
  readonly #fetchBlock: ((cid: Cid) => Promise<Uint8Array>) | null;

  constructor(fetchBlock: ((cid: Cid) => Promise<Uint8Array>) | null = null) {
    this.#fetchBlock = fetchBlock;
  }

  async get(cid: Cid): Promise<Uint8Array> {
    const bytes = this.map.get(cid) ?? (await this.#fetchBlock?.(cid));
    if (!bytes) throw new AtollError('not_found', 'No such block.', { details: { cid } });
    this.map.set(cid, bytes);
    return bytes;
  }

  async put(bytes: Uint8Array, code = rawCode): Promise<Cid> {
    const cid = cidOfSync(bytes, code);
    this.map.set(cid, bytes);
    return cid;
  }
}
