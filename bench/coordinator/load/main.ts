/** The load generator, a process of its own: as many contributors as it is told, asking as fast as they are answered or at a given pace. */
import { serveCalls } from '../child.ts';
import { type LoadContext, LoadContributor } from './contributor.ts';
import type { Acknowledged } from '../server.ts';

export interface LoadStart {
  /** Contributors are spread over them evenly. */
  urls: readonly string[];
  contributors: number;
  eager: boolean;
  remember?: boolean;
}

export interface LoadReport {
  leases: number;
  commits: number;
  reveals: number;
  agreed: number;
  idle: number;
  lost: number;
  problems: Record<string, number>;
  /** Milliseconds from ask to lease since the last report, sorted. */
  leaseMs: Float64Array;
  cpuSeconds: number;
}

const contributors: LoadContributor[] = [];
let context: LoadContext | null = null;
let pacing: NodeJS.Timeout | null = null;
/** Handshakes at once. */
const connectsAtOnce = 64;
const paceMs = 10;

async function start({ urls, contributors: count, eager, remember = false }: LoadStart): Promise<void> {
  const counts = { leases: 0, commits: 0, reveals: 0, agreed: 0, idle: 0, lost: 0 };
  const shared: LoadContext = {
    eager,
    remember,
    counts,
    leaseMs: [],
    problems: new Map(),
    stopped: false,
  };
  context = shared;
  let next = 0;
  const connectOne = async () => {
    while (next < count) {
      next++;
      const contributor = new LoadContributor(shared, urls[next % urls.length] as string);
      contributors.push(contributor);
      await contributor.connect();
    }
  };
  await Promise.all(Array.from({ length: connectsAtOnce }, connectOne));
}

/** Everybody asks in turn, so many times a second in all; 0 stops it. */
function pace(perSecond: number): void {
  if (pacing) clearInterval(pacing);
  pacing = null;
  if (perSecond === 0) return;
  let turn = 0;
  let owed = 0;
  let last = performance.now();
  pacing = setInterval(() => {
    const now = performance.now();
    owed += ((now - last) / 1000) * perSecond;
    last = now;
    for (; owed >= 1; owed--) contributors[turn++ % contributors.length]?.ask();
  }, paceMs);
}

function report(): LoadReport {
  if (!context) throw new Error('The load was not started.');
  const { counts, leaseMs, problems } = context;
  const sorted = Float64Array.from(leaseMs).sort();
  leaseMs.length = 0;
  const { user, system } = process.cpuUsage();
  return {
    ...counts,
    problems: Object.fromEntries(problems),
    leaseMs: sorted,
    cpuSeconds: (user + system) / 1e6,
  };
}

/** Everything, or what is new since the last call. */
function acknowledged(all: boolean): Acknowledged {
  const found: Acknowledged = { commits: [], reveals: [] };
  for (const contributor of contributors) {
    for (const [id, held] of contributor.held) {
      const stage = held.revealed ? 2 : held.committed ? 1 : 0;
      if (stage === 0 || (!all && stage <= held.checked)) continue;
      found.commits.push([id, held.commitment]);
      if (stage === 2) found.reveals.push([id, held.result]);
      held.checked = stage;
    }
  }
  return found;
}

function stop(): void {
  pace(0);
  if (context) context.stopped = true;
  for (const contributor of contributors) contributor.close();
  contributors.length = 0;
}

serveCalls({ start, pace, report, acknowledged, stop });
