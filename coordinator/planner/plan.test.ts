/** The planner: text, scalars, rounds, and that the same job is the same units. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeFile } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import { decodeWorkunit, encodeWorkunit, workunitId } from '#protocol/messages/workunit.ts';
import { evalLossParams } from '#kernels/programs/eval-loss/spec.ts';
import { trainOuterParams } from '#kernels/programs/train-outer/spec.ts';
import { trainStepsParams } from '#kernels/programs/train-steps/spec.ts';
import * as v from 'valibot';
import {
  fakeExecute,
  fakeInitialCheckpoint,
  MemoryBlocks,
  testJob,
  testText,
} from '../testing/fake-programs.ts';
import { corpusShape, unigramEntropy } from './corpus.ts';
import { bitsToFloat, floatToBits, stepScalars } from './optimiser.ts';
import { createPlan, type Plan, slotKey } from './plan.ts';
import { mix, permutation, scale } from './random.ts';
import { runJob } from './run-job.ts';

const initial = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
const corpus = { size: 0, blocks: [] };
const job = (changes: Partial<Job['training']> = {}): Job => ({ ...testJob(changes), corpus });

/** Windows of one round's lanes, as text offsets found back in the corpus. */
function windowsOf(plan: Plan, round: number): string[] {
  const state = plan.after(round - 1, initial);
  const size = plan.job.model.T + 1;
  return plan.due(state).flatMap((slot) => {
    const bytes = plan.build(state, slot).blocks[0]?.bytes as Uint8Array;
    return Array.from({ length: bytes.length / size }, (_, i) =>
      bytes.slice(i * size, (i + 1) * size).join(),
    );
  });
}

describe('random', () => {
  test('a permutation holds every index once, and depends on the seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(0xffffffff), (count, seed) => {
        expect([...permutation(count, seed)].sort((a, b) => a - b)).toEqual([...Array(count).keys()]);
      }),
    );
    expect([...permutation(50, 1)]).not.toEqual([...permutation(50, 2)]);
  });

  test('scale is the exact product', () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.integer({ min: 1, max: 2 ** 31 }), (random, bound) => {
        expect(BigInt(scale(random, bound))).toBe((BigInt(random) * BigInt(bound)) >> 32n);
      }),
    );
  });

  test('mixing depends on every part and on their order', () => {
    expect(new Set([mix(1, 2, 3), mix(3, 2, 1), mix(1, 2), mix(1, 2, 4), mix(0, 2, 3)]).size).toBe(5);
    expect([mix(7, 1, 0, 2), mix(7, 1, 1, 2)]).toEqual([1323571658, 1842374641]);
  });
});

describe('corpus', () => {
  test.each([
    ['empty', new Uint8Array(), /empty/],
    ['not UTF-8', Uint8Array.of(0x61, 0xff, 0xfe), /not UTF-8/],
    ['too short', testText(40), /needs 50 bytes|needs \d+/],
  ])('refuses a text that is %s', (_, bytes, message) => {
    expect(() => createPlan(job(), bytes)).toThrowError(
      expect.objectContaining({ code: 'bad_input', message: expect.stringMatching(message) as string }),
    );
  });

  test('the bytes it asks for are exactly enough', () => {
    const { bytesNeeded } = corpusShape(job(), 10_000);
    expect(() => createPlan(job(), testText(bytesNeeded - 1))).toThrow(`one round needs ${bytesNeeded}`);
    expect(createPlan(job(), testText(bytesNeeded)).shape.roundsPerEpoch).toBe(1);
  });

  test('refuses tokens beyond one block, reals out of range, too many lanes, bytes outside the vocabulary', () => {
    const refused = (bad: Job) => {
      expect(() => createPlan(bad, testText())).toThrowError(expect.objectContaining({ code: 'bad_input' }));
    };
    refused(job({ steps: 1000, batch: 1024 }));
    refused(job({ heldOut: 65_536, steps: 1, batch: 1 }));
    refused(job({ lanes: 61, steps: 1, batch: 1 }));
    refused(job({ beta1: floatToBits(1) }));
    refused(job({ lr: 0x7f800000 }));
    refused(job({ lr: 1 }));
    refused(job({ eps: 0 }));
    refused({ ...job(), model: { ...job().model, V: 64 } });
  });

  test('unigram entropy of even bytes is the logarithm of their number', () => {
    expect(unigramEntropy(Uint8Array.from({ length: 256 }, (_, i) => i))).toBeCloseTo(Math.log(256), 12);
    expect(unigramEntropy(Uint8Array.of(7, 7, 7))).toBe(0);
  });
});

describe('optimiser', () => {
  test('warms up, then stays; the corrections are those of the powers', () => {
    const { training } = job({ warmup: 4, steps: 6 });
    const { lr, bias1, bias2 } = stepScalars(training, 1);
    const peak = bitsToFloat(training.lr);
    expect(lr.map(bitsToFloat)).toEqual([1, 2, 3, 4, 4, 4].map((t) => Math.fround((peak * t) / 4)));
    for (let t = 1; t <= 6; t++) {
      expect(bitsToFloat(bias1[t - 1] as number)).toBeCloseTo(1 / (1 - bitsToFloat(training.beta1) ** t), 5);
      expect(bitsToFloat(bias2[t - 1] as number)).toBeCloseTo(1 / (1 - bitsToFloat(training.beta2) ** t), 4);
    }
  });

  test('rounds continue where the last one stopped', () => {
    const whole = stepScalars(job({ steps: 6 }).training, 1);
    const halves = [1, 2].map((round) => stepScalars(job({ steps: 3 }).training, round));
    expect(halves.flatMap((half) => half.bias1)).toEqual(whole.bias1);
    expect(halves.flatMap((half) => half.lr)).toEqual(whole.lr);
  });
});

describe('plan', () => {
  /** Every four bytes that a window starts with are different. */
  const text = new TextEncoder().encode(Array.from({ length: 225 }, (_, i) => `${1_000 + i}`).join(''));

  test('no window is used twice in an epoch, none is held out, and the next epoch has another order', () => {
    const plan = createPlan(job(), text);
    const { roundsPerEpoch, windows, windowsPerRound } = plan.shape;
    expect(roundsPerEpoch).toBeGreaterThan(5);
    const used: string[] = [];
    for (let round = 2; round <= roundsPerEpoch; round++) used.push(...windowsOf(plan, round));
    expect(new Set(used).size).toBe((roundsPerEpoch - 1) * windowsPerRound);
    expect(used.length).toBeLessThanOrEqual(windows);
    expect(windowsOf(plan, roundsPerEpoch + 2)).not.toEqual(windowsOf(plan, 2));
    const heldOut = plan.build(plan.start(initial), { round: 1, kind: 'first', lane: 0 }).blocks[0]?.bytes;
    expect(heldOut?.slice(0, 5)).toEqual(text.slice(-17, -12));
    expect(heldOut?.slice(-5)).toEqual(text.slice(-5));
    const heldOutText = text.slice(-17).join();
    for (const window of used) expect(heldOutText).not.toContain(window);
  });

  test('its units are what the programs accept, and survive encoding', () => {
    const plan = createPlan(job(), text);
    let state = plan.start(initial);
    const parsed = { 'train.steps': 0, 'train.outer': 0, 'eval.loss': 0 };
    const schemas = {
      'train.steps': trainStepsParams,
      'train.outer': trainOuterParams,
      'eval.loss': evalLossParams,
    };
    for (const slot of plan.slotsOf(1)) {
      const { unit, operations } = plan.build(state, slot);
      const name = unit.program.split('@')[0] as keyof typeof schemas;
      expect(v.safeParse(schemas[name] as v.GenericSchema, unit.params).success).toBe(true);
      expect(decodeWorkunit(encodeWorkunit(unit))).toEqual(unit);
      expect(operations).toBeGreaterThan(0);
      parsed[name]++;
      state = plan.apply(state, slot, { update: initial, checkpoint: initial, loss: initial });
    }
    expect(parsed).toEqual({ 'train.steps': 2, 'train.outer': 1, 'eval.loss': 2 });
  });

  test('what is due follows from what is accepted, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { minLength: 40, maxLength: 40 }), (picks) => {
        const plan = createPlan(job({ lanes: 3, steps: 1, batch: 1 }), text);
        let state = plan.start(initial);
        const done: string[] = [];
        for (const pick of picks) {
          const due = plan.due(state, 3);
          if (due.length === 0) break;
          const slot = due[pick % due.length] as (typeof due)[number];
          expect(done).not.toContain(slotKey(slot));
          done.push(slotKey(slot));
          state = plan.apply(state, slot, { update: initial, checkpoint: initial });
        }
        const all = [1, 2, 3].flatMap((round) => plan.slotsOf(round).map(slotKey));
        expect(done.sort()).toEqual(all.sort());
      }),
    );
  });

  test('lanes of one round differ in seed and tokens; another job seed changes both', () => {
    const units = (seed: number) => {
      const plan = createPlan({ ...job(), seed }, text);
      const state = plan.start(initial);
      return plan.due(state).map((slot) => workunitId(plan.build(state, slot).unit));
    };
    expect(new Set([...units(1), ...units(2)]).size).toBe(6);
    expect(units(1)).toEqual(units(1));
  });

  test('lanes may be of different sizes: each has its own batch, and no window is trained on twice in an epoch', () => {
    const plan = createPlan(job({ lanes: 3, steps: 2, batch: 4, batches: [1, 4, 2] }), text);
    expect(plan.shape.windowsPerRound).toBe(14);
    const state = plan.start(initial);
    const lanes = plan.due(state).filter((slot) => slot.kind === 'train');
    const units = lanes.map((slot) => plan.build(state, slot));
    expect(units.map((unit) => unit.unit.params['batch'])).toEqual([1, 4, 2]);
    const [small, large] = units.map((unit) => [unit.operations, unit.memoryBytes]) as [number[], number[]];
    expect(small[0]).toBeLessThan(large[0] as number);
    expect(small[1]).toBeLessThan(large[1] as number);
    const windows = windowsOf(plan, 2);
    expect(windows).toHaveLength(14);
    const rounds = [2, 3].flatMap((round) => windowsOf(plan, round));
    expect(new Set(rounds).size).toBe(28);
    expect(createPlan(job({ batches: [2, 2], batch: 2, lanes: 2 }), text).shape).toMatchObject({
      ...{ windowsPerRound: createPlan(job({ batch: 2, lanes: 2 }), text).shape.windowsPerRound },
    });
    const mismatch = () => createPlan(job({ lanes: 2, batches: [1] }), text);
    expect(mismatch).toThrow('1 batch sizes are given for 2 lanes');
  });

  test('an accepted slot that is not expected changes nothing', () => {
    const plan = createPlan(job(), text);
    const state = plan.after(4, initial);
    expect(plan.apply(state, { round: 4, kind: 'train', lane: 0 }, { update: initial })).toBe(state);
    expect(() => plan.build(state, { round: 5, kind: 'outer', lane: 0 })).toThrow('not due');
  });
});

test('runJob gives the same checkpoints every time, one a round', async () => {
  const run = async () => {
    const blocks = new MemoryBlocks();
    const file = await writeFile(blocks, testText());
    return runJob({ ...testJob(), corpus: file }, 3, blocks, (unit) => fakeExecute(unit, blocks), {
      initial: fakeInitialCheckpoint,
    });
  };
  const [a, b] = [await run(), await run()];
  expect(a).toEqual(b);
  expect(new Set(a.checkpoints).size).toBe(3);
  expect(a.losses).toHaveLength(4);
});
