/**
 * When a contributor may work, by the clock on the wall: "Mo-Fr 19:00-07:00,Sa,Su".
 *
 * Entries are separated by commas or semicolons. Days before hours share them ("Sa,Su 08:00-20:00"), days without any are open all day, hours without days hold
 * every day, and those that end before they begin pass midnight. Only local days and minutes are compared, never lengths of time: an hour that a change of clocks
 * leaves out is nobody's, and one that comes twice counts twice.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Clock, Logger } from '../../runtime/ports.ts';
import type { Gate } from './gate.ts';

export interface Window {
  /** 0 is Sunday, as `Date` has it. */
  day: number;
  /** Minutes since midnight; `end` at or before `start` is on the next day. */
  start: number;
  end: number;
}
export type Schedule = readonly Window[];

const dayNames = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const everyDay = [0, 1, 2, 3, 4, 5, 6];
const minutesPerDay = 24 * 60;
const charsMax = 500;
/** The clock may be set and the machine may sleep, so it is looked at again and again. */
const lookMs = 15_000;
/** A unit in hand may be finished when hours end. */
const graceMs = 5 * 60_000;

/** Throws `bad_config` naming the entry that cannot be read. */
export function parseSchedule(text: string): Schedule {
  const rules = text.split(';').map((rule) => rule.split(','));
  if (text.length > charsMax) throw bad(`${text.slice(0, 40)}...`, 'it is too long');
  return rules.flatMap(parseRule);
}

function parseRule(entries: string[]): Window[] {
  const windows: Window[] = [];
  let waiting: number[] = [];
  const give = (days: number[], [start, end]: [number, number]) =>
    windows.push(...days.map((day) => ({ day, start, end })));
  for (const entry of entries.map((each) => each.trim())) {
    const parts = /^([A-Za-z]+(?:\s*-\s*[A-Za-z]+)?)?\s*(\d{1,2}:\d{2}\s*-\s*\d{1,2}:\d{2})?$/.exec(entry);
    if (!parts || entry === '') throw bad(entry, 'expected days, hours or both');
    const [, days, hours] = parts;
    if (days) waiting.push(...parseDays(entry, days));
    if (!hours) continue;
    give(days ? waiting : everyDay, parseHours(entry, hours));
    if (days) waiting = [];
  }
  give(waiting, [0, minutesPerDay]);
  return windows;
}

function parseDays(entry: string, text: string): number[] {
  const [first, last = first] = text.split('-').map((name) => parseDay(entry, name.trim())) as [
    number,
    number?,
  ];
  const count = (last - first + 7) % 7;
  return Array.from({ length: count + 1 }, (_, i) => (first + i) % 7);
}

function parseDay(entry: string, name: string): number {
  const day = dayNames.findIndex((each) => name.length >= 2 && each.startsWith(name.toLowerCase()));
  if (day < 0) throw bad(entry, `${name} is no day`);
  return day;
}

function parseHours(entry: string, text: string): [number, number] {
  const [start, end] = text.split('-').map((time) => {
    const [hour = 0, minute = 0] = time.trim().split(':').map(Number);
    const minutes = hour * 60 + minute;
    if (minute > 59 || minutes > minutesPerDay) throw bad(entry, `${time.trim()} is no time of day`);
    return minutes;
  }) as [number, number];
  if (start === end || start === minutesPerDay) throw bad(entry, 'the hours have no length');
  return [start, end];
}

function bad(entry: string, why: string): AtollError {
  return new AtollError(
    'bad_config',
    `--schedule takes hours such as "Mo-Fr 19:00-07:00,Sa,Su", and "${entry}" cannot be read: ${why}. See --help.`,
  );
}

/** Whether the schedule lets work be done at that moment, in the process's time zone. */
export function isOpen(schedule: Schedule, at: Date): boolean {
  const day = at.getDay();
  const minute = at.getHours() * 60 + at.getMinutes();
  return schedule.some(({ day: begins, start, end }) => {
    if (end > start) return day === begins && minute >= start && minute < end;
    return (day === begins && minute >= start) || (day === (begins + 1) % 7 && minute < end);
  });
}

/** The minute in which that changes next, or null where it never does. */
export function nextChange(schedule: Schedule, from: Date): Date | null {
  const now = isOpen(schedule, from);
  const first = Math.floor(from.getTime() / 60_000) + 1;
  for (let minute = first; minute <= first + 8 * minutesPerDay; minute++) {
    const at = new Date(minute * 60_000);
    if (isOpen(schedule, at) !== now) return at;
  }
  return null;
}

/** Opens and closes the gate by the schedule. `now` is the wall clock. Returns what ends it. */
export function followSchedule(
  gate: Gate,
  schedule: Schedule,
  ports: { clock: Clock; now: () => Date; log: Logger },
): () => void {
  const { clock, now, log } = ports;
  let open: boolean | null = null;
  let cancel = () => {};
  const look = () => {
    cancel = clock.after(lookMs, look);
    const at = now();
    const isOpenNow = isOpen(schedule, at);
    if (isOpenNow === open) return;
    open = isOpenNow;
    const until = whenOf(nextChange(schedule, at));
    if (open) {
      gate.letGo('schedule');
      log.info({ until }, 'The schedule lets work be done now.');
    } else {
      // At the start nothing is in hand yet.
      gate.hold('schedule', `Resting by the schedule until ${until}.`, { graceMs });
      log.info({ until }, 'The schedule wants rest now.');
    }
  };
  look();
  return () => cancel();
}

function whenOf(at: Date | null): string {
  if (!at) return 'it is changed';
  const two = (n: number) => String(n).padStart(2, '0');
  return `${dayNames[at.getDay()]?.slice(0, 2)} ${two(at.getHours())}:${two(at.getMinutes())}`.replace(
    /^./,
    (c) => c.toUpperCase(),
  );
}
