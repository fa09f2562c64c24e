/** Catching up by updates: the bytes that it takes, that nothing false is believed, and that without the whole base nothing is even tried. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createCpuDevice } from '#kernels/device/cpu.ts';
import { parameterCount } from '#kernels/model/layout.ts';
import { executeWorkunit, programIds } from '#kernels/programs/registry.ts';
import { outerStep, type TrainedRound, trainedRounds } from '#kernels/programs/testing/trained-rounds.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { SyncHint } from '#protocol/messages/frames.ts';
import { MemoryBlockCache } from './block-cache.ts';
import { catchUp, filesOf, holdsWhole } from './catch-up.ts';
import type { ComputeDevice } from './ports.ts';
import { FakeClock } from './testing/fake-clock.ts';

const model = { L: 1, C: 16, NH: 2, T: 16, V: 256 };
const parameters = parameterCount(model);
const origin = new MemoryBlocks();
let made: TrainedRound[] = [];

beforeAll(async () => {
  made = await trainedRounds(origin, model, 4);
});

const cpu = createCpuDevice();
const device = {
  programs: programIds(),
  execute: (unit, { blocks, signal }) => executeWorkunit(unit, { device: cpu, blocks, signal }),
} as Pick<ComputeDevice, 'programs' | 'execute'> as ComputeDevice;

const log = { debug() {}, info() {}, warn() {}, error() {} };

/** A contributor that holds the checkpoint before round `from`, whole but for `without`. */
async function contributor(from: number, without?: Cid) {
  const cache = new MemoryBlockCache();
  const base = made[from]?.before as Cid;
  const document = await origin.get(base);
  await cache.put(document, 0x71);
  for (const { blocks } of filesOf(base, document)) {
    for (const cid of blocks) if (cid !== without) await cache.add(cid, await origin.get(cid));
  }
  let bytes = 0;
  const source = { fetch: (cid: Cid) => origin.get(cid) };
  const ports = { cache, source, clock: new FakeClock(), randomBytes: (n: number) => new Uint8Array(n), log };
  const run = (hint: SyncHint, checkpoint: Cid) =>
    catchUp(ports, {
      ...{ hint, checkpoint, device, signal: new AbortController().signal },
      onBytes: (count) => (bytes += count),
    });
  return { cache, run, base, bytes: () => bytes };
}

function hint(from: number, to: number): SyncHint {
  const updates = made.slice(from, to).map(({ update, packed }) => ({ update, packed }));
  return { from: made[from]?.before as Cid, updates, ...outerStep };
}

const after = (round: number) => made[round - 1]?.checkpoint as Cid;

describe('catching up', () => {
  it('makes the next checkpoint from at most 3.3 bytes a parameter, and holds all of it then', async () => {
    const { run, cache, bytes } = await contributor(1);
    expect(await run(hint(1, 2), after(2))).toBe(true);
    expect(await holdsWhole(cache, after(2))).toBe(true);
    expect(bytes()).toBeGreaterThan(parameters);
    expect(bytes() / parameters).toBeLessThan(3.3);
  });

  it('takes the plain update where there is no packed one, for no more', async () => {
    const { run, bytes } = await contributor(1);
    const plain = { ...hint(1, 2), updates: hint(1, 2).updates.map(({ update }) => ({ update })) };
    expect(await run(plain, after(2))).toBe(true);
    expect(bytes() / parameters).toBeLessThan(3.3);
  });

  it('catches up on several rounds for less than the checkpoint', async () => {
    const { run, bytes } = await contributor(0);
    expect(await run(hint(0, 4), after(4))).toBe(true);
    expect(bytes() / parameters).toBeLessThan(7);
  });

  it('does not believe a hint that leads elsewhere', async () => {
    const { run, cache } = await contributor(1);
    const false1 = { ...hint(1, 2), outerLr: outerStep.outerLr + 1 };
    expect(await run(false1, after(2))).toBe(false);
    const another = { ...hint(1, 2), updates: hint(2, 3).updates };
    expect(await run(another, after(2))).toBe(false);
    expect(cache.has(after(2))).toBe(false);
  });

  it('is not put off by an update that cannot be had, or is none', async () => {
    const { run } = await contributor(1);
    const nothing = { ...hint(1, 2), updates: [{ update: made[0]?.before as Cid }] };
    expect(await run(nothing, after(2))).toBe(false);
  });

  it('downloads nothing when it does not hold the whole base, or needs nothing', async () => {
    const document = await origin.get(made[1]?.before as Cid);
    const lost = filesOf(made[1]?.before as Cid, document)[0]?.blocks[0] as Cid;
    const partial = await contributor(1, lost);
    expect(await partial.run(hint(1, 2), after(2))).toBe(false);
    const there = await contributor(1);
    expect(await there.run(hint(0, 1), after(1))).toBe(false); // `after(1)` is what it holds
    expect([partial.bytes(), there.bytes()]).toEqual([0, 0]);
  });

  it('ends when the unit is dropped', async () => {
    const { cache } = await contributor(1);
    const source = { fetch: () => new Promise<Uint8Array>(() => {}) };
    const stop = new AbortController();
    const ports = {
      cache,
      source,
      clock: new FakeClock(),
      randomBytes: (n: number) => new Uint8Array(n),
      log,
    };
    const onBytes = () => {};
    const task = { hint: hint(1, 2), checkpoint: after(2), device, signal: stop.signal, onBytes };
    const running = catchUp(ports, task);
    stop.abort(new Error('dropped'));
    await expect(running).rejects.toThrow('dropped');
  });
});
