/** Hours of work: what the words mean, what they do not mean, and the two nights a year on which clocks change. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Logger } from '../../runtime/ports.ts';
import { createGate } from './gate.ts';
import { followSchedule, isOpen, nextChange, parseSchedule } from './schedule.ts';
import { FakeClock, FakeControl } from './testing/fake-control.ts';

const zone = process.env['TZ'];
afterEach(() => {
  if (zone === undefined) delete process.env['TZ'];
  else process.env['TZ'] = zone;
});

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
/** 2026-11-23 is a Monday. */
const at = (day: number, time: string) => new Date(`2026-11-${23 + day}T${time}:00`);
const open = (text: string, day: number, time: string) => isOpen(parseSchedule(text), at(day, time));

describe('a schedule', () => {
  const nights = 'Mo-Fr 19:00-07:00,Sa,Su';

  it.each([
    [0, '18:59', false],
    [0, '19:00', true],
    [0, '23:59', true],
    [0, '06:59', false], // Sunday ends at midnight
    [1, '00:00', true],
    [1, '06:59', true],
    [1, '07:00', false],
    [5, '12:00', true],
    [6, '23:59', true],
  ])('of nights and weekends on day %i at %s: %s', (day, time, expected) => {
    expect(open(nights, day, time)).toBe(expected);
  });

  it('gives hours to the days before them, and whole days to those without', () => {
    expect(open('Sa,Su 08:00-20:00', 5, '07:00')).toBe(false);
    expect(open('Sa,Su 08:00-20:00', 5, '09:00')).toBe(true);
    expect(open('Sa,Su 08:00-20:00; Mo', 0, '03:00')).toBe(true);
    expect(open('22:00-06:00', 2, '23:00')).toBe(true);
    expect(open('Fr-Mo', 0, '12:00')).toBe(true);
    expect(open('Fr-Mo', 1, '12:00')).toBe(false);
    expect(open('monday 00:00-24:00', 0, '23:59')).toBe(true);
  });

  it.each([
    '',
    'Mo-',
    'Xy 10:00-11:00',
    'Mo 25:00-26:00',
    'Mo 10:60-11:00',
    'Mo 9-5',
    '10:00-10:00',
    'Mo,,Tu',
    'M 10:00-11:00',
    `Mo${',Mo'.repeat(300)}`,
  ])('refuses %j in words', (text) =>
    expect(() => parseSchedule(text)).toThrow(/--schedule takes hours such as/),
  );

  it('is by the clock on the wall on the nights on which that changes', () => {
    process.env['TZ'] = 'Europe/Berlin';
    const early = parseSchedule('Su 02:15-03:30');
    // 2026-03-29: from 02:00 at once to 03:00.
    expect(isOpen(early, new Date('2026-03-29T00:59:00Z'))).toBe(false); // 01:59
    expect(isOpen(early, new Date('2026-03-29T01:00:00Z'))).toBe(true); // 03:00
    expect(isOpen(early, new Date('2026-03-29T01:30:00Z'))).toBe(false); // 03:30
    // 2026-10-25: 02:00 to 03:00 comes twice.
    expect(isOpen(early, new Date('2026-10-25T00:20:00Z'))).toBe(true); // 02:20, summer
    expect(isOpen(early, new Date('2026-10-25T01:10:00Z'))).toBe(false); // 02:10, winter
    expect(isOpen(early, new Date('2026-10-25T01:20:00Z'))).toBe(true); // 02:20, winter
    const nightly = parseSchedule('19:00-07:00');
    const change = nextChange(nightly, new Date('2026-10-24T20:00:00Z'));
    expect(change?.toISOString()).toBe('2026-10-25T06:00:00.000Z'); // 07:00 by then, 13 hours after 19:00
  });

  it('says when it changes, or that it never does', () => {
    expect(nextChange(parseSchedule(nights), at(0, '12:00'))).toEqual(at(0, '19:00'));
    expect(nextChange(parseSchedule(nights), at(4, '20:00'))).toEqual(at(7, '00:00'));
    expect(nextChange(parseSchedule('Mo-Su'), at(0, '12:00'))).toBeNull();
  });

  it('opens and closes the gate, also when the clock is set', async () => {
    const control = new FakeControl({ phase: 'computing' });
    const clock = new FakeClock();
    const gate = await createGate(control, clock);
    let wall = at(0, '12:00');
    const end = followSchedule(gate, parseSchedule(nights), { clock, now: () => wall, log: quiet });
    expect(gate.held.get('schedule')).toBe('Resting by the schedule until Mo 19:00.');
    clock.pass(5 * 60_000);
    expect(control.calls).toEqual(['pause']);
    wall = at(0, '19:30');
    clock.pass(15_000);
    expect(control.calls).toEqual(['pause', 'resume']);
    end();
    wall = at(1, '12:00');
    clock.pass(60 * 60_000);
    expect(control.calls).toHaveLength(2);
  });
});
