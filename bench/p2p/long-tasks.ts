/** Reads a Chromium trace: the tasks of one page's main thread between two of its marks, the longest first. */

export interface TraceEvent {
  name: string;
  cat: string;
  ph: string;
  pid: number;
  tid: number;
  /** Microseconds; `dur` and `tdur` of a whole event, the second on the thread's own clock. */
  ts: number;
  dur?: number;
  tdur?: number;
  args?: Record<string, unknown>;
}

export interface Task {
  cpuMs: number;
  wallMs: number;
  /** The longest things within it. */
  what: string;
}

export interface Tasks {
  /** By CPU time. */
  main: Task[];
  count: number;
  windowMs: number;
  /** CPU time of the main thread, and of the same page's workers together. */
  mainMs: number;
  workersMs: number;
}

/** Throws when the trace does not have what it takes. */
export function longestTasks(events: readonly TraceEvent[], from: string, to: string): Tasks {
  const mark = (name: string) => {
    const found = events.find((event) => event.name === name && event.cat.includes('blink.user_timing'));
    if (!found) throw new Error(`The trace has no mark ${name}.`);
    return found;
  };
  const [start, end] = [mark(from), mark(to)];
  const isWithin = ({ pid, ts }: TraceEvent) => pid === start.pid && ts > start.ts && ts < end.ts;
  const tasks = events.filter((event) => event.name === 'RunTask' && event.ph === 'X' && isWithin(event));
  const own = tasks.filter(({ tid }) => tid === start.tid);
  if (own.length === 0) throw new Error('The trace has no tasks of the page.');
  const details = events.filter(
    (event) => event.ph === 'X' && event.tid === start.tid && event.name !== 'RunTask' && isWithin(event),
  );
  const workers = new Set(
    events
      .filter(({ name, pid, args }) => name === 'thread_name' && pid === start.pid && isWorker(args))
      .map(({ tid }) => tid),
  );
  const main = own
    .map((task) => ({ cpuMs: cpuOf(task), wallMs: (task.dur ?? 0) / 1000, task }))
    .sort((a, b) => b.cpuMs - a.cpuMs)
    .map(({ cpuMs, wallMs, task }, i) => ({ cpuMs, wallMs, what: i < 20 ? contents(task, details) : '' }));
  return {
    main,
    count: own.length,
    windowMs: (end.ts - start.ts) / 1000,
    mainMs: sum(own.map(cpuOf)),
    workersMs: sum(tasks.filter(({ tid }) => workers.has(tid)).map(cpuOf)),
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

const isWorker = (args?: Record<string, unknown>) => /Worker/.test(String(args?.['name']));

/** Throws where the browser has no clock for threads. */
function cpuOf({ tdur }: TraceEvent): number {
  if (tdur === undefined) throw new Error('The trace has no CPU time.');
  return tdur / 1000;
}

function contents(task: TraceEvent, details: readonly TraceEvent[]): string {
  return details
    .filter(({ ts, dur = 0 }) => ts >= task.ts && ts + dur <= task.ts + (task.dur ?? 0))
    .sort((a, b) => (b.dur ?? 0) - (a.dur ?? 0))
    .slice(0, 3)
    .map(({ name, dur = 0 }) => `${name} ${(dur / 1000).toFixed(1)} ms`)
    .join(', ');
}
