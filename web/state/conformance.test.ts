/** A conformance run in the page: order, progress, and what is left of a run that is stopped. */
import { expect, it } from 'vitest';
import type { HostMessage, HostOptions } from '#workers/browser/conformance.ts';
import { failureWords, runWords, stageWords } from '../lib/conformance-words.ts';
import { choicesOf, ConformanceState } from './conformance.svelte.ts';

const all = { hasGpu: true, hasSimd: true, isIsolated: true, cores: 4 };

/** Backends that wait for the test to speak for them. */
function rig() {
  const started: { options: HostOptions; tell: (message: HostMessage) => void; closed: boolean }[] = [];
  const run = new ConformanceState({
    examine(options, tell) {
      const one = { options, tell, closed: false };
      started.push(one);
      return () => (one.closed = true);
    },
  });
  return { run, started };
}

const info = { backend: 'wasm', label: 'WebAssembly SIMD', vendor: '', software: true } as const;
const same = { id: 'gemm/1', same: true };
const report = { kind: 'report', report: { info, seconds: 2, outcomes: [same] } } as const;

it('offers what the browser has, and says what it lacks', () => {
  expect(choicesOf(all).map(({ title, lack }) => [title, lack])).toEqual([
    ['WebAssembly', null],
    ['WebAssembly, 4 threads', null],
    ['WebGPU', null],
    ['TypeScript reference', null],
  ]);
  const bare = choicesOf({ hasGpu: false, hasSimd: true, isIsolated: false, cores: 1 });
  expect(bare.map(({ lack }) => lack !== null)).toEqual([false, true, true, false]);
});

it('examines one after the other, each in a worker that it closes', async () => {
  const { run, started } = rig();
  const through = run.run(choicesOf(all).slice(0, 2), true);
  expect(started).toHaveLength(1);
  expect(started[0]?.options).toEqual({ backend: 'wasm', allowSoftware: true });
  const outcome = { id: 'gelu/usual', same: false, error: 'it broke' };
  started[0]?.tell({ kind: 'progress', done: 1, total: 2, outcome });
  expect(stageWords(run.examined[0] as never)).toBe('1 of 2 cases, 1 case differs.');
  expect(run.ops).toEqual(['gelu']);
  started[0]?.tell(report);
  expect(started[0]?.closed).toBe(true);
  await Promise.resolve();
  expect(started).toHaveLength(2);
  started[1]?.tell({ kind: 'absent', reason: 'Not here.' });
  await through;
  expect(run.running).toBe(false);
  expect(run.examined.map(({ stage }) => stage)).toEqual(['done', 'absent']);
  expect(run.examined.map(({ column }) => [column.id, column.absent])).toEqual([
    ['wasm', undefined],
    ['wasm-threads', 'Not here.'],
  ]);
  expect(runWords(run)).toContain("WebAssembly: All 1 cases give the reference's bits, in 2 s.");
});

it('stops what runs and what waits', async () => {
  const { run, started } = rig();
  const through = run.run(choicesOf(all), false);
  run.stop();
  await through;
  expect(started.map(({ closed }) => closed)).toEqual([true]);
  expect(run.examined.map(({ stage }) => stage)).toEqual(['stopped', 'stopped', 'stopped', 'stopped']);
});

it('says what differs in bits and in numbers', () => {
  const difference = { at: 1200, of: 4096, count: 1, expected: '0x00000000', got: '0xffffffff' };
  expect(failureWords({ id: 'x', same: false, difference })).toBe(
    '1 of 4,096 elements differs. The first is element 1,200: expected 0x00000000 (0, or 0), got 0xffffffff (NaN, or -1).',
  );
});
