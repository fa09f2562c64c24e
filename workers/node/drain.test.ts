/** The goodbye: when a unit is finished, when it is given back, and when there is no more time; decided from the view and the time alone. */
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../runtime/testing/fake-clock.ts';
import type { ContributorView } from '../runtime/view.ts';
import { drain, drainStep } from './drain.ts';

const idle = { phase: 'waiting', unit: null, pending: 0 } as const;
const busy = (done: number, pending = 0) =>
  ({ phase: 'computing', unit: { program: 'p', done, total: 100 }, pending }) as const;

describe('drainStep', () => {
  it.each([
    ['nothing left', idle, 0, 'done'],
    ['a unit, and time', busy(1), 5_000, 'wait'],
    ['inputs are being fetched', { ...idle, phase: 'fetching' }, 5_000, 'wait'],
    ['a unit, and time only for what is committed', busy(90, 1), 17_500, 'give-back'],
    ['a verdict is to come', { ...idle, pending: 2 }, 20_000, 'wait'],
    ['a verdict never came', { ...idle, pending: 2 }, 27_000, 'give-up'],
    ['a unit never ended', busy(99), 28_000, 'give-up'],
  ] as const)('%s', (_words, view, elapsedMs, expected) => {
    expect(drainStep(view, elapsedMs, 30_000, null)).toBe(expected);
  });

  it('gives a unit back at once when its pace shows that it cannot be finished', () => {
    const start = { atMs: 1_000, done: 10 };
    expect(drainStep(busy(12), 4_000, 30_000, start)).toBe('give-back'); // 88 steps at 1.5 s
    expect(drainStep(busy(60), 4_000, 30_000, start)).toBe('wait'); // 40 steps at 0.06 s
    expect(drainStep(busy(12), 2_000, 30_000, start)).toBe('wait'); // too early to tell
    expect(drainStep(busy(10), 9_000, 30_000, start)).toBe('wait'); // no step seen
  });
});

describe('drain', () => {
  function rig(first: Pick<ContributorView, 'phase' | 'unit' | 'pending'>) {
    const calls: string[] = [];
    const clock = new FakeClock();
    const stop = new AbortController();
    const at = { view: first as ContributorView };
    const control = {
      drain: async () => void calls.push('drain'),
      pause: async () => {
        calls.push('pause');
        at.view = { ...at.view, phase: 'paused', unit: null };
      },
    };
    const left = drain(control, () => at.view, { allowedMs: () => 30_000, clock, signal: stop.signal });
    return { calls, clock, stop, at, left };
  }

  it('waits for the unit and its verdict', async () => {
    const { at, clock, calls, left } = rig(busy(1));
    await clock.advance(3_000);
    at.view = { ...at.view, phase: 'paused', unit: null, pending: 1 };
    await clock.advance(3_000);
    at.view = { ...at.view, pending: 0 };
    await clock.advance(1_000);
    expect(await left).toBe(0);
    expect(calls).toEqual(['drain']);
  });

  it('gives the unit back once, and tells what is left', async () => {
    const { clock, calls, left } = rig(busy(1, 2));
    await clock.advance(30_000);
    expect(await left).toBe(2);
    expect(calls).toEqual(['drain', 'pause']);
  });

  it('ends when it is told to', async () => {
    const { clock, stop, left } = rig(busy(1, 1));
    await clock.advance(1_000);
    stop.abort();
    await clock.advance(200);
    expect(await left).toBe(1);
  });
});
