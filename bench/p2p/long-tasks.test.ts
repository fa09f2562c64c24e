/** What counts of a trace: the tasks of the marked page's main thread between the marks, by the thread's own clock. */
import { expect, it } from 'vitest';
import { longestTasks, type TraceEvent } from './long-tasks.ts';

const event = (given: Partial<TraceEvent>): TraceEvent => ({
  ...{ name: 'RunTask', cat: 'devtools.timeline', ph: 'X', pid: 1, tid: 1, ts: 0 },
  ...given,
});
const mark = (name: string, ts: number) => event({ name, ts, ph: 'I', cat: 'blink.user_timing' });
const task = (ts: number, tdur: number, dur = tdur, where: Partial<TraceEvent> = {}) =>
  event({ ts, tdur, dur, ...where });

const page = [
  mark('from', 1_000),
  mark('to', 90_000),
  task(500, 99_000),
  task(2_000, 3_000, 60_000),
  event({ name: 'FunctionCall', ts: 2_100, dur: 59_000 }),
  task(70_000, 7_000),
  task(80_000, 30_000, 30_000, { tid: 2 }),
  event({ name: 'thread_name', ph: 'M', tid: 2, args: { name: 'DedicatedWorker thread' } }),
  task(80_000, 88_000, 88_000, { pid: 2 }),
];

it('is the work of the page itself while it was watched, however long others kept it waiting', () => {
  const { main, count, windowMs, mainMs, workersMs } = longestTasks(page, 'from', 'to');
  expect(main.map(({ cpuMs, wallMs }) => [cpuMs, wallMs])).toEqual([
    [7, 7],
    [3, 60],
  ]);
  expect(main[1]?.what).toBe('FunctionCall 59.0 ms');
  expect([count, windowMs, mainMs, workersMs]).toEqual([2, 89, 10, 30]);
});

it('is not made up where the trace does not tell it', () => {
  expect(() => longestTasks(page, 'from', 'never')).toThrow('no mark never');
  expect(() => longestTasks([mark('from', 0), mark('to', 9)], 'from', 'to')).toThrow('no tasks');
  expect(() => longestTasks([...page, event({ ts: 3_000, dur: 5 })], 'from', 'to')).toThrow('no CPU time');
});
