/**
 * Caps on what goes over the network in a day or a month: `--data-max 5GB/day,100GB/month`, counted in both directions, peers included.
 *
 * Counts are kept in a file of the data directory, so that a restart does not begin anew; days and months are those of the local calendar. At a cap the
 * contributor finishes its unit, settles it, and leaves the network until the next day or month: while it is only paused it would still serve others.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { Clock, Logger } from '../../runtime/ports.ts';
import type { ContributorControl, ContributorView } from '../../runtime/view.ts';
import type { Gate } from './gate.ts';

export type Span = 'day' | 'month';
export type DataCaps = Readonly<Partial<Record<Span, number>>>;

const units: Record<string, number> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};
const capMin = 1e6;
/** The file is written when so much more has gone by, and at the end. */
const saveBytes = 1 << 20;
const lookMs = 15_000;
const graceMs = 5 * 60_000;

/** Throws `bad_config`. */
export function parseDataMax(text: string): DataCaps {
  const caps: Partial<Record<Span, number>> = {};
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,12}(?:\.\d{1,3})?)\s*([kmgt]i?)?b?\s*\/\s*(day|month)\s*$/i.exec(part);
    const bytes = match ? Math.floor(Number(match[1]) * (units[(match[2] ?? '').toLowerCase()] ?? 1)) : 0;
    const span = match?.[3]?.toLowerCase() as Span | undefined;
    if (!span || bytes < capMin || caps[span] !== undefined) {
      throw new AtollError(
        'bad_config',
        '--data-max takes 1 MB or more for a day, a month or both, such as 5GB/day or 5GB/day,100GB/month.',
      );
    }
    caps[span] = bytes;
  }
  return caps;
}

/** The shares of one of several contributors of a machine. */
export function dividedCaps(caps: DataCaps, count: number): string {
  return Object.entries(caps)
    .map(([span, bytes]) => `${Math.max(capMin, Math.floor(bytes / count))}/${span}`)
    .join(',');
}

/** All that has gone over the network in this process. */
export function trafficOf(view: ContributorView): number {
  const { bytesDown, bytesUp, blockBytesDown = 0, swarm } = view;
  // Blocks that the exchange fetched ahead are in its count alone, those it fetched for a unit in both.
  const blocks = Math.max(blockBytesDown, swarm ? swarm.peerBytes + swarm.originBytes : 0);
  return bytesDown - blockBytesDown + blocks + bytesUp + (swarm?.servedBytes ?? 0);
}

const bookSchema = v.object({
  day: v.object({ key: v.string(), bytes: v.pipe(v.number(), v.minValue(0)) }),
  month: v.object({ key: v.string(), bytes: v.pipe(v.number(), v.minValue(0)) }),
});
type Book = v.InferOutput<typeof bookSchema>;

const keyOf = (span: Span, at: Date): string => {
  const month = `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}`;
  return span === 'month' ? month : `${month}-${String(at.getDate()).padStart(2, '0')}`;
};

/** Counts of the day and the month that are going on. */
export class TrafficBook {
  readonly #book: Book;

  constructor(book: Book | null, at: Date) {
    this.#book = book ?? {
      day: { key: keyOf('day', at), bytes: 0 },
      month: { key: keyOf('month', at), bytes: 0 },
    };
  }

  add(bytes: number, at: Date): void {
    for (const span of ['day', 'month'] as const) {
      const key = keyOf(span, at);
      // Only forwards: a clock that is set back must not give a new day. The year comes first, so keys compare as text.
      if (key > this.#book[span].key) this.#book[span] = { key, bytes: 0 };
      this.#book[span].bytes += bytes;
    }
  }

  /** The longest span whose cap is reached, or null. */
  reached(caps: DataCaps): Span | null {
    const isReached = (span: Span) => this.#book[span].bytes >= (caps[span] ?? Infinity);
    return isReached('month') ? 'month' : isReached('day') ? 'day' : null;
  }

  toJSON(): Book {
    return this.#book;
  }
}

export interface DataCapPorts {
  file: string;
  clock: Clock;
  now: () => Date;
  log: Logger;
}

/** Keeps the caps. Returns what ends it and keeps the counts. Throws `bad_config` where they cannot be kept: a cap that a restart lifts is none. */
export async function followDataCaps(
  gate: Gate,
  control: ContributorControl,
  caps: DataCaps,
  { file, clock, now, log }: DataCapPorts,
): Promise<() => Promise<void>> {
  const book = new TrafficBook(await readBook(file), now());
  await saveBook(file, book);
  let [seen, saved, total] = [0, 0, 0];
  let saving = Promise.resolve();
  const save = () => {
    saved = total;
    saving = saving
      .then(() => saveBook(file, book))
      .catch((error: unknown) => log.warn({ code: toProblem(error).code }, toProblem(error).detail));
  };
  const look = () => {
    book.add(0, now());
    const span = book.reached(caps);
    if (!span) return gate.letGo('data');
    gate.hold('data', `The cap on data is reached; going on next ${span}.`, { graceMs, offline: true });
  };
  await control.subscribe((view) => {
    total = trafficOf(view);
    book.add(Math.max(0, total - seen), now());
    seen = total;
    if (total - saved >= saveBytes) save();
    look();
  });
  let cancel = () => {};
  const tick = () => {
    cancel = clock.after(lookMs, tick);
    look();
  };
  tick();
  return async () => {
    cancel();
    save();
    await saving;
  };
}

async function readBook(file: string): Promise<Book | null> {
  try {
    return v.parse(bookSchema, JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw unusable(file, error);
  }
}

async function saveBook(file: string, book: TrafficBook): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(`${file}.new`, `${JSON.stringify(book)}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
  } catch (error) {
    throw unusable(file, error);
  }
}

function unusable(file: string, cause: unknown): AtollError {
  return new AtollError(
    'bad_config',
    `What has gone over the network cannot be kept in ${file}. Make it writable, delete it if it is damaged, or do without --data-max.`,
    {
      cause,
    },
  );
}
