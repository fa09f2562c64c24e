/** The documents that have an id: workunit, result, job. Two different documents never decode to one value. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeCanonical, linkOf } from '../codec/cbor.ts';
import { cborCode, cidOfSync } from '../codec/cid.ts';
import { limits } from '../limits.ts';
import { jobArb, resultArb, workunitArb } from '../testing/arbitraries.ts';
import { decodeJob, encodeJob, jobId } from './job.ts';
import {
  decodeResult,
  decodeWorkunit,
  encodeResult,
  encodeWorkunit,
  resultDigest,
  workunitId,
} from './workunit.ts';

const cid = cidOfSync(new Uint8Array([1]), cborCode);
const refused = expect.objectContaining({ code: 'bad_request' });
const unit = { v: 1, program: 'train.steps@1+i10sr', inputs: { a: linkOf(cid) }, params: { n: 1 }, seed: 7 };
const result = { v: 1, unit: linkOf(cid), outputs: { delta: linkOf(cid) } };

describe('workunit, result and job', () => {
  it('decode to what was encoded, and their id is the CID of the bytes', () => {
    fc.assert(
      fc.property(workunitArb, (value) => {
        const bytes = encodeWorkunit(value);
        expect(decodeWorkunit(bytes)).toEqual(value);
        expect(workunitId(value)).toBe(cidOfSync(bytes, cborCode));
      }),
    );
    fc.assert(
      fc.property(resultArb, (value) => {
        const bytes = encodeResult(value);
        expect(decodeResult(bytes)).toEqual(value);
        expect(resultDigest(value)).toBe(cidOfSync(bytes, cborCode));
      }),
    );
    fc.assert(
      fc.property(jobArb, (value) => {
        const bytes = encodeJob(value);
        expect(decodeJob(bytes)).toEqual(value);
        expect(jobId(value)).toBe(cidOfSync(bytes, cborCode));
      }),
    );
  });

  it('change their id with every field', () => {
    fc.assert(
      fc.property(workunitArb, workunitArb, (a, b) => {
        for (const key of ['program', 'seed', 'params', 'inputs'] as const) {
          const changed = { ...a, [key]: b[key] };
          const same = JSON.stringify(encodeCanonical(a[key])) === JSON.stringify(encodeCanonical(b[key]));
          expect(workunitId(changed) === workunitId(a)).toBe(same);
        }
      }),
    );
  });

  it('refuse what is no workunit', () => {
    expect(() => decodeWorkunit(encodeCanonical(unit))).not.toThrow();
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`in${i}`, linkOf(cid)]));
    expect(() =>
      decodeWorkunit(encodeCanonical({ ...unit, inputs: many(limits.workunitInputsMax) })),
    ).not.toThrow();
    const wrong: Record<string, unknown> = {
      'a version that does not exist': { ...unit, v: 2 },
      'a program without version': { ...unit, program: 'train.steps' },
      'a program of version 0': { ...unit, program: 'train@0' },
      'a program in capitals': { ...unit, program: 'Train@1' },
      'an input that is text': { ...unit, inputs: { a: cid } },
      'an input with a bad name': { ...unit, inputs: { 'a b': linkOf(cid) } },
      'too many inputs': { ...unit, inputs: many(limits.workunitInputsMax + 1) },
      'a float': { ...unit, params: { n: 0.5 } },
      'an integer beyond 2^53': { ...unit, params: { n: 2n ** 60n } },
      'a parameter that is a link': { ...unit, params: { n: linkOf(cid) } },
      'a list of floats': { ...unit, params: { n: [1, 0.5] } },
      'a parameter that is null': { ...unit, params: { n: null } },
      'a seed below zero': { ...unit, seed: -1 },
      'a seed of 33 bits': { ...unit, seed: 2 ** 32 },
      'a surplus key': { ...unit, note: 'x' },
      'a key of Object.prototype': { ...unit, toString: 1 },
      'a missing key': { v: 1, program: unit.program, inputs: {}, seed: 1 },
      'a list': [unit],
      nothing: null,
    };
    for (const [name, value] of Object.entries(wrong)) {
      expect(() => decodeWorkunit(encodeCanonical(value)), name).toThrow(refused);
    }
  });

  it('drop no name silently: two documents never decode to one value', () => {
    for (const name of ['constructor', 'prototype', '__proto__']) {
      const holding = (value: unknown) =>
        Object.defineProperty({ ok: value }, name, { value, enumerable: true });
      const link = linkOf(cid);
      expect(() => decodeWorkunit(encodeCanonical({ ...unit, inputs: holding(link) })), name).toThrow(
        refused,
      );
      expect(() => decodeWorkunit(encodeCanonical({ ...unit, params: holding(1) })), name).toThrow(refused);
      expect(() => decodeWorkunit(encodeCanonical({ ...unit, params: { deep: holding(1) } })), name).toThrow(
        refused,
      );
      expect(() => decodeResult(encodeCanonical({ ...result, outputs: holding(link) })), name).toThrow(
        refused,
      );
    }
  });

  it('refuse what is no result', () => {
    expect(() => decodeResult(encodeCanonical(result))).not.toThrow();
    const many = Object.fromEntries(
      Array.from({ length: limits.resultOutputsMax + 1 }, (_, i) => [`out${i}`, linkOf(cid)]),
    );
    for (const outputs of [{}, many, { a: 1 }, null, [linkOf(cid)]]) {
      expect(() => decodeResult(encodeCanonical({ ...result, outputs }))).toThrow(refused);
    }
    expect(() => decodeResult(encodeCanonical({ ...result, unit: cid }))).toThrow(refused);
    expect(() => decodeResult(encodeCanonical({ ...result, toString: 1 }))).toThrow(refused);
  });

  it('refuse what is no job', () => {
    fc.assert(
      fc.property(jobArb, (job) => {
        const good = { ...job, corpus: { size: job.corpus.size, blocks: job.corpus.blocks.map(linkOf) } };
        expect(() => decodeJob(encodeCanonical(good))).not.toThrow();
        const wrong: unknown[] = [
          { ...good, model: { ...good.model, NH: good.model.C + 1 } },
          { ...good, model: { ...good.model, C: good.model.C + 0.5 } },
          { ...good, model: { ...good.model, constructor: 1 } },
          { ...good, training: { ...good.training, lanes: 0 } },
          { ...good, training: { ...good.training, lr: -1 } },
          { ...good, name: '' },
          { ...good, name: 'x'.repeat(limits.labelCharsMax + 1) },
          { ...good, policy: 'f32' },
          { ...good, corpus: { ...good.corpus, size: -1 } },
          { ...good, corpus: { ...good.corpus, valueOf: 1 } },
        ];
        for (const value of wrong) expect(() => decodeJob(encodeCanonical(value))).toThrow(refused);
      }),
      { numRuns: 20 },
    );
  });
});
