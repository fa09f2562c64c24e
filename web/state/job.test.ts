/** The job's state over a transport in memory and a clock that moves when told: live, silent, broken, empty. */
import { describe, expect, it } from 'vitest';
import type { JobStatus } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import { listOf, makeRound, makeStatus, makeUnit, network } from '../e2e/fixtures.ts';
import type { Api, EventHandlers, Fetched } from './api.ts';
import { backoffMs, JobState } from './job.svelte.ts';

class Bench {
  now = 1_000_000;
  status: JobStatus | null = makeStatus(3);
  down = false;
  jobFetches = 0;
  closed = 0;
  handlers: EventHandlers | null = null;
  /** Runs while a status is on its way. */
  during: (() => void) | null = null;
  readonly #sleepers: { ms: number; wake: () => void }[] = [];

  readonly api: Api = {
    network: async () => this.#answer(network),
    jobs: async () => this.#answer(listOf(this.status)),
    job: async () => {
      this.jobFetches += 1;
      const answer = this.#answer(this.status as JobStatus);
      this.during?.();
      return answer;
    },
    contributor: () => Promise.reject(new Error('not asked for here')),
    events: (_, handlers) => {
      this.handlers = handlers;
      return () => {
        this.closed += 1;
      };
    },
  };

  #answer<T>(value: T): Fetched<T> {
    return this.down ? { ok: false, fault: { kind: 'unreachable' } } : { ok: true, value };
  }

  readonly sleep = (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      this.#sleepers.push({ ms, wake: resolve });
      signal.addEventListener('abort', () => resolve());
    });

  /** Lets everything that waits go on; the clock moves by the longest wait. */
  async pass(): Promise<number> {
    await settle();
    const woken = this.#sleepers.splice(0);
    const ms = Math.max(0, ...woken.map((sleeper) => sleeper.ms));
    this.now += ms;
    for (const { wake } of woken) wake();
    await settle();
    return ms;
  }

  begin(asked: string | null = null) {
    const leaving = new AbortController();
    const job = new JobState({ api: this.api, now: () => this.now, sleep: this.sleep }, asked);
    const over = job.run(leaving.signal);
    return { job, leave: () => (leaving.abort(), over) };
  }
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('JobState', () => {
  it('loads the network and the job, then is live and follows events', async () => {
    const bench = new Bench();
    const { job, leave } = bench.begin();
    expect(job.phase).toBe('loading');
    await settle();
    expect(job.phase).toBe('ready');
    expect(job.link).toBe('connecting');
    bench.handlers?.open();
    expect(job.link).toBe('live');
    bench.handlers?.event({ type: 'round', round: makeRound(4) });
    bench.handlers?.event({ type: 'contributors', online: 9 });
    expect(job.status?.rounds).toHaveLength(4);
    expect(job.network?.contributorsOnline).toBe(9);
    await leave();
    expect(bench.closed).toBe(1);
  });

  it('asks for the snapshot again after a round and after a reconnect, not after every event', async () => {
    const bench = new Bench();
    const { leave } = bench.begin();
    await settle();
    bench.handlers?.open();
    bench.handlers?.event({ type: 'unit', unit: makeUnit(4, 1, 'leased', 0.7) });
    await bench.pass();
    expect(bench.jobFetches).toBe(1);
    bench.handlers?.event({ type: 'round', round: makeRound(4) });
    await bench.pass();
    expect(bench.jobFetches).toBe(2);
    bench.handlers?.open();
    await bench.pass();
    expect(bench.jobFetches).toBe(3);
    await leave();
  });

  it('does not lose an event that arrives while a snapshot is on its way', async () => {
    const bench = new Bench();
    const { job, leave } = bench.begin();
    await settle();
    bench.handlers?.open();
    bench.during = () => bench.handlers?.event({ type: 'unit', unit: makeUnit(4, 1, 'accepted', 1) });
    bench.handlers?.event({ type: 'round', round: makeRound(3) });
    await bench.pass();
    expect(bench.jobFetches).toBe(2);
    expect(job.status?.units.find((unit) => unit.lane === 1)?.state).toBe('accepted');
    await leave();
  });

  it('answers silence with a fetch, and says when even that fails', async () => {
    const bench = new Bench();
    const { job, leave } = bench.begin();
    await settle();
    bench.handlers?.open();
    const heard = job.heardMs;
    while (bench.jobFetches === 1) await bench.pass();
    expect(bench.now - (heard ?? 0)).toBeGreaterThanOrEqual(20_000);
    expect(job.heardMs).toBe(bench.now);
    expect(job.link).toBe('live');
    bench.down = true;
    while (bench.jobFetches === 2) await bench.pass();
    expect(job.link).toBe('lost');
    expect(job.fault).toEqual({ kind: 'unreachable' });
    expect(job.phase).toBe('ready');
    await leave();
  });

  it('opens a new stream when the old one is closed for good', async () => {
    const bench = new Bench();
    const { job, leave } = bench.begin();
    await settle();
    const first = bench.handlers;
    first?.open();
    first?.broken(false);
    expect(job.link).toBe('lost');
    await bench.pass();
    expect(bench.handlers).toBe(first);
    first?.broken(true);
    await bench.pass();
    await bench.pass();
    expect(bench.handlers).not.toBe(first);
    bench.handlers?.open();
    expect(job.link).toBe('live');
    await leave();
  });

  it('keeps trying, ever more slowly, while the coordinator is down', async () => {
    const bench = new Bench();
    bench.down = true;
    const { job, leave } = bench.begin();
    const waits = [await bench.pass(), await bench.pass(), await bench.pass()];
    expect(job.phase).toBe('faulty');
    expect(waits).toEqual([0, 1, 2].map(backoffMs));
    bench.down = false;
    await bench.pass();
    expect(job.phase).toBe('ready');
    expect(job.fault).toBeNull();
    await leave();
  });

  it('waits for a first job, and finds it', async () => {
    const bench = new Bench();
    bench.status = null;
    const { job, leave } = bench.begin();
    await settle();
    expect(job.phase).toBe('empty');
    bench.status = makeStatus(0);
    await bench.pass();
    expect(job.phase).toBe('ready');
    await leave();
  });

  it('says that an event does not fit, and recovers with the next', async () => {
    const bench = new Bench();
    const { job, leave } = bench.begin();
    await settle();
    bench.handlers?.unfit({ kind: 'unfit', path: 'round', message: 'expected a number' });
    expect(job.fault?.kind).toBe('unfit');
    bench.handlers?.event({ type: 'contributors', online: 1 });
    expect(job.fault).toBeNull();
    await leave();
  });
});

it('backs off within the limits', () => {
  expect(backoffMs(0)).toBe(limits.reconnectMsMin);
  expect(backoffMs(50)).toBe(limits.reconnectMsMax);
});
