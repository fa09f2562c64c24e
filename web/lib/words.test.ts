/** Every state and fault has words, and every fault a remedy. */
import { describe, expect, it } from 'vitest';
import { AtollError, type ErrorCode, errorCodes, toProblem } from '#protocol/errors.ts';
import { laneStateSchema } from '#protocol/http/api.ts';
import {
  deviceWords,
  faultWords,
  remedyFor,
  stalledWords,
  startWords,
  unitMeanings,
  unitTitle,
  unitWords,
} from './words.ts';

describe('words', () => {
  it('has words and a meaning for every state of a unit', () => {
    for (const state of laneStateSchema.entries.state.options) {
      expect(unitWords[state]).toBeTruthy();
      expect(unitMeanings[state]).toBeTruthy();
    }
  });

  it('gives every unit of a list a title of its own, the first measurement too', () => {
    const unit = { program: 'train.steps@1+i10sr', round: 1, lane: 0 };
    const loss = { program: 'eval.loss@1+i10sr', round: 1, lane: null };
    const titles = [unit, { ...unit, lane: 1 }, loss, { ...loss, initial: true }];
    expect(titles.map((each) => unitTitle(each, 1))).toEqual([
      ...['Lane 1', 'Lane 2', 'Measure', 'First measure'],
    ]);
    expect(unitTitle(loss, 2)).toBe('Measure, round 1');
    expect(unitTitle({ ...loss, initial: true }, 2)).toBe('First measure');
  });

  it('names a remedy for every error there is', () => {
    for (const code of Object.keys(errorCodes) as ErrorCode[]) {
      expect(remedyFor(toProblem(new AtollError(code, 'It failed.')))).toMatch(/[a-z].*\.$/);
    }
  });

  it('gives a device that is missing and one that computes other bits different advice', () => {
    const remedy = (code: ErrorCode) => remedyFor(toProblem(new AtollError(code, 'It failed.')));
    expect(remedy('no_device')).toContain('hardware acceleration');
    expect(remedy('nonconforming')).toContain('driver');
    expect(remedy('internal')).toContain('Trying again is safe');
  });

  it('tells the two reasons apart why a job stands still', () => {
    expect(stalledWords({ units: [{ state: 'leased' }, { state: 'failed' }] })).toContain('given up');
    expect(stalledWords({ units: [{ state: 'leased' }] })).toContain('not working on it');
  });

  it('calls a device by its name and its way of computing, and never twice the same', () => {
    const device = { backend: 'webgpu', label: 'Some GPU', vendor: 'some', software: false } as const;
    expect(deviceWords(device)).toBe('Some GPU \u00b7 WebGPU');
    expect(deviceWords({ ...device, backend: 'reference', label: 'TypeScript reference' })).toBe(
      'TypeScript reference',
    );
    expect(deviceWords({ ...device, backend: 'wasm', label: 'WebAssembly SIMD, 3 threads' })).toBe(
      'WebAssembly SIMD, 3 threads',
    );
  });

  it('says what Start will do, by what this browser has', () => {
    expect(startWords('auto', true)).toContain('or else takes part of the main one');
    expect(startWords('auto', false)).toContain('through WebAssembly');
    expect(startWords('webgpu', true)).toBe('asks your browser for its graphics processor');
    expect(startWords('reference', true)).toContain('reference');
  });

  it('says what and where when an answer does not fit', () => {
    const words = faultWords({ kind: 'unfit', path: 'rounds.1.loss', message: 'expected a number' });
    expect(words.detail).toContain('rounds.1.loss: expected a number');
  });
});
