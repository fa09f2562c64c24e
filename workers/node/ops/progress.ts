/**
 * One line on a terminal that says what a contributor is at, drawn over itself. Only where there is a terminal; words and numbers alone carry the meaning, and
 * colour is left out where NO_COLOR or a dumb terminal asks for that.
 */
import type { ContributorView, Phase } from '../../runtime/view.ts';

export interface Terminal {
  write(text: string): unknown;
  readonly columns?: number;
  readonly isTTY?: boolean;
}

export interface ProgressOptions {
  env: NodeJS.ProcessEnv;
  /** Milliseconds from any fixed moment. */
  now: () => number;
}

export interface Progress {
  show(lines: readonly ProgressState[]): void;
  /** Text above the line, such as a warning. */
  print(text: string): void;
  /** Takes the line away; the cursor is where it was. */
  close(): void;
}

export interface ProgressState {
  /** Shown where there are several. */
  label: string;
  view: ContributorView | null;
  /** Why it is held back, in full sentences. */
  held: readonly string[];
}

const clear = '\r\x1b[2K';
const drawMsMin = 200;
const colours: Partial<Record<Phase, number>> = {
  computing: 32,
  fetching: 36,
  connecting: 33,
  paused: 33,
  failed: 31,
};

/** Null where standard error is no terminal, or one that cannot go back in a line. */
export function openProgress(terminal: Terminal, options: ProgressOptions): Progress | null {
  if (!terminal.isTTY || options.env['TERM'] === 'dumb') return null;
  return new ProgressLine(terminal, options);
}

class ProgressLine implements Progress {
  readonly #terminal: Terminal;
  readonly #options: ProgressOptions;
  readonly #etas = new Map<string, Eta>();
  #drawn = '';
  #drawnAt = -Infinity;
  #closed = false;

  constructor(terminal: Terminal, options: ProgressOptions) {
    this.#terminal = terminal;
    this.#options = options;
  }

  show(states: readonly ProgressState[]): void {
    if (this.#closed) return;
    const now = this.#options.now();
    for (const { label, view } of states) this.#etaOf(label).seen(view, now);
    const line = this.#line(states);
    const isNew = wordsOf(line) !== wordsOf(this.#drawn);
    if (line === this.#drawn || (!isNew && now - this.#drawnAt < drawMsMin)) return;
    this.#drawnAt = now;
    this.#drawn = line;
    this.#terminal.write(clear + line);
  }

  print(text: string): void {
    if (this.#closed) return;
    this.#terminal.write(`${clear}${printable(text)}\n${this.#drawn}`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#drawn !== '') this.#terminal.write(clear);
  }

  #etaOf(label: string): Eta {
    let eta = this.#etas.get(label);
    if (!eta) this.#etas.set(label, (eta = new Eta()));
    return eta;
  }

  #line(states: readonly ProgressState[]): string {
    const [only] = states;
    const now = this.#options.now();
    const text =
      states.length === 1 && only
        ? lineOf(only, this.#etaOf(only.label).secondsLeft(now))
        : lineOfMany(states);
    // The last column is left free: some terminals wrap when it is written to.
    const clipped = printable(text).slice(0, Math.max(10, (this.#terminal.columns ?? 80) - 1));
    const colour = only?.view && states.length === 1 ? colours[only.view.phase] : undefined;
    if (colour === undefined || this.#options.env['NO_COLOR']) return clipped;
    const [word = ''] = clipped.split(' ', 1);
    return `\x1b[${colour}m${word}\x1b[0m${clipped.slice(word.length)}`;
  }
}

/** One contributor. */
export function lineOf({ view, held }: ProgressState, secondsLeft: number | null): string {
  if (!view) return 'starting';
  const parts: string[] = [];
  const { phase, unit, reason, problem } = view;
  if ((phase === 'computing' || phase === 'fetching') && unit) {
    const share =
      unit.total > 0 ? ` ${Math.floor((100 * unit.done) / unit.total)}% (${unit.done}/${unit.total})` : '';
    parts.push(`${phase} ${unit.program}${share}`);
    if (secondsLeft !== null) parts.push(`${durationOf(secondsLeft)} left`);
  } else {
    parts.push(`${phase}: ${held[0] ?? problem?.detail ?? reason}`);
  }
  return [...parts, ...accountOf([view])].join(' | ');
}

/** Several, each in a word. */
export function lineOfMany(states: readonly ProgressState[]): string {
  const each = states.map(({ label, view }) => {
    const { unit, phase = 'starting' } = view ?? { unit: null };
    const share = unit && unit.total > 0 ? ` ${Math.floor((100 * unit.done) / unit.total)}%` : '';
    return `${label} ${phase}${share}`;
  });
  return [...each, ...accountOf(states.flatMap(({ view }) => view ?? []))].join(' | ');
}

function accountOf(views: readonly ContributorView[]): string[] {
  const sum = (value: (view: ContributorView) => number) =>
    views.reduce((total, view) => total + value(view), 0);
  const peers = sum(({ swarm }) => (swarm ? swarm.direct + swarm.relayed : 0));
  const pending = sum((view) => view.pending);
  return [
    `credit ${shortOf(sum(({ credit }) => credit))}`,
    `agreed ${sum(({ agreed }) => agreed)}`,
    ...(pending > 0 ? [`pending ${pending}`] : []),
    ...(views.some(({ swarm }) => swarm) ? [`peers ${peers}`] : []),
  ];
}

/** When a unit will be done, by how fast it went since it was first seen to move. */
export class Eta {
  #unit = '';
  #first: { done: number; at: number } | null = null;
  #last: { done: number; total: number; at: number } | null = null;

  seen(view: ContributorView | null, now: number): void {
    const { unit, phase } = view ?? { unit: null, phase: 'stopped' };
    if (phase !== 'computing' || !unit) {
      this.#first = this.#last = null;
      return;
    }
    const isNext = unit.program !== this.#unit || (this.#last !== null && unit.done < this.#last.done);
    this.#unit = unit.program;
    if (isNext || !this.#first) this.#first = { done: unit.done, at: now };
    if (isNext || unit.done !== this.#last?.done)
      this.#last = { done: unit.done, total: unit.total, at: now };
  }

  /** Null while nothing is known. */
  secondsLeft(now: number): number | null {
    const [first, last] = [this.#first, this.#last];
    if (!first || !last || last.done <= first.done) return null;
    const msEach = (last.at - first.at) / (last.done - first.done);
    return Math.max(0, ((last.total - last.done) * msEach - (now - last.at)) / 1000);
  }
}

export function durationOf(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** Three digits and a prefix: 42.8G. */
export function shortOf(value: number): string {
  if (value < 1000) return String(value);
  const power = Math.min(6, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** power).toFixed(3).slice(0, 4).replace(/\.$/, '')}${' kMGTPE'[power]}`;
}

/** Words of the coordinator and of programs are shown; what would move the cursor is not. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e\u00a0-\u024f\u2010-\u203a]/g, ' ');
}

function wordsOf(line: string): string {
  return line.replace(/\d+/g, '');
}
