/** Rest between units, by share of time and by energy: what is kept over time whatever single units take. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../runtime/ports.ts';
import { createGate } from './gate.ts';
import { EnergyBudget, followDuty, followPower, restMsAfter } from './rest.ts';
import { FakeClock, FakeControl } from './testing/fake-control.ts';

describe('--duty', () => {
  it('rests in proportion, an hour at the most', () => {
    expect(restMsAfter(10_000, 50)).toBe(10_000);
    expect(restMsAfter(10_000, 25)).toBe(30_000);
    expect(restMsAfter(10_000, 100)).toBe(0);
    expect(restMsAfter(10 * 60 * 60_000, 1)).toBe(60 * 60_000);
  });

  it('pauses after each unit and resumes after the rest', async () => {
    const control = new FakeControl();
    const clock = new FakeClock();
    const gate = await createGate(control, clock);
    const end = await followDuty(gate, control, 25, clock);
    for (let unit = 0; unit < 3; unit++) {
      control.calls.length = 0;
      control.show({ phase: 'fetching' });
      clock.pass(500_000); // fetching is no computing
      control.show({ phase: 'computing' });
      clock.pass(10_000);
      control.show({ phase: 'waiting' });
      expect(control.calls).toEqual(['pause']);
      clock.pass(29_999);
      expect(control.calls).toEqual(['pause']);
      clock.pass(1);
      expect(control.calls).toEqual(['pause', 'resume']);
    }
    end();
    expect(gate.held.size).toBe(0);
  });
});

describe('--power-max', () => {
  const capW = 300;

  it('keeps the average at the cap over a long time, whatever is drawn and however long units take', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 301, max: 1_000 }),
        fc.integer({ min: 1, max: 300 }),
        (busyW, unitSeconds) => {
          const budget = new EnergyBudget(capW);
          const seconds = 100_000;
          let [joules, left, resting] = [0, 0, false];
          for (let now = 0; now < seconds; now++) {
            const draws = left > 0 ? busyW : 50;
            joules += draws;
            const may = budget.drawn(draws, now * 1000);
            if (!may) resting = true;
            if (resting && budget.recovered) resting = false;
            if (left > 0) left--;
            if (left === 0 && !resting) left = unitSeconds;
          }
          const mean = joules / seconds;
          expect(mean).toBeLessThanOrEqual(capW * 1.01 + (busyW * unitSeconds) / seconds);
          // It does not rest for nothing either.
          expect(mean).toBeGreaterThan(Math.min(busyW, capW) * 0.95);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('does not count a gap in which the machine slept', () => {
    const budget = new EnergyBudget(capW);
    budget.drawn(500, 0);
    expect(budget.drawn(500, 60 * 60_000)).toBe(true);
  });

  it('holds and lets go by what is read, and says when the cap is below what rest draws', async () => {
    const warnings: string[] = [];
    const log: Logger = {
      debug() {},
      info() {},
      warn: (_, message) => void warnings.push(message),
      error() {},
    };
    const control = new FakeControl();
    const clock = new FakeClock();
    const gate = await createGate(control, clock);
    let draws: number | null = 700;
    const end = followPower(gate, capW, { readWatts: () => draws, clock, log });
    clock.pass(9_000);
    expect(control.calls).toEqual(['pause']);
    draws = 100;
    clock.pass(60_000);
    expect(control.calls).toEqual(['pause', 'resume']);
    draws = null; // not told just now
    clock.pass(60_000);
    expect(control.calls).toHaveLength(2);
    draws = 400;
    clock.pass(30 * 60_000);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/--power-max while it rests/);
    end();
    expect(gate.held.size).toBe(0);
  });
});
