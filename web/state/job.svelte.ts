/**
 * The job that the page shows: a snapshot, kept live by the event stream, with its age.
 *
 * A stream can die without a sign, so silence is answered by fetching the snapshot again: only that tells "nothing happens" from "nothing
 * arrives". Time and transport are passed in.
 */
import type { JobEvent, JobStatus, NetworkInfo } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { Api, Fault } from './api.ts';
import { applyEvent, chooseJob } from './job-events.ts';

export interface JobPorts {
  api: Api;
  now: () => number;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Silence after which the snapshot is fetched again. */
const silenceMs = 20_000;
/** Snapshots asked for by events come at most this often. */
const refreshMs = 2_000;
const emptyRetryMs = 5_000;

export function backoffMs(attempt: number): number {
  return Math.min(limits.reconnectMsMin * 2 ** attempt, limits.reconnectMsMax);
}

export class JobState {
  network = $state.raw<NetworkInfo | null>(null);
  status = $state.raw<JobStatus | null>(null);
  /** Why the last attempt failed; null as soon as one succeeds. */
  fault = $state.raw<Fault | null>(null);
  /** Of the event stream: a snapshot that was fetched is fresh, not live. */
  link = $state<'connecting' | 'live' | 'lost'>('connecting');
  /** When the coordinator last said anything. */
  heardMs = $state<number | null>(null);

  readonly #ports: JobPorts;
  readonly #asked: string | null;
  #missed: JobEvent[] | null = null;

  constructor(ports: JobPorts, asked: string | null = null) {
    this.#ports = ports;
    this.#asked = asked;
  }

  /** `empty`: the coordinator answers and has no job. */
  get phase(): 'loading' | 'faulty' | 'empty' | 'ready' {
    if (this.status) return 'ready';
    if (this.fault) return 'faulty';
    return this.network ? 'empty' : 'loading';
  }

  /** Follows the network until `signal` is aborted. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      const id = await this.#find(signal).catch(() => null);
      if (signal.aborted) return;
      if (id !== null && (await this.#follow(id, signal))) attempt = 0;
      const empty = id === null && this.fault === null;
      await this.#ports.sleep(empty ? emptyRetryMs : backoffMs(attempt), signal);
    }
  }

  /** Loads network, job list and job. Null: there is none, or `fault` says what went wrong. */
  async #find(signal: AbortSignal): Promise<string | null> {
    const network = await this.#ports.api.network(signal);
    if (!network.ok) return this.#fail(network.fault);
    this.network = network.value;
    const id = await this.#choose(signal);
    return id !== null && (await this.#refresh(id, signal)) ? id : null;
  }

  async #choose(signal: AbortSignal): Promise<string | null> {
    if (this.#asked !== null) return this.#asked;
    const jobs = await this.#ports.api.jobs(signal);
    if (!jobs.ok) return this.#fail(jobs.fault);
    this.#heard();
    return chooseJob(jobs.value.jobs, null);
  }

  async #refresh(id: string, signal: AbortSignal): Promise<boolean> {
    const missed: JobEvent[] = (this.#missed = []);
    const fetched = await this.#ports.api.job(id, signal);
    this.#missed = null;
    if (!fetched.ok) {
      this.#fail(fetched.fault);
      return false;
    }
    this.status = missed.reduce(applyEvent, fetched.value);
    this.#heard();
    return true;
  }

  /** Resolves when the stream is closed for good, or when there is a newer job to show. True: it had been live. */
  async #follow(id: string, signal: AbortSignal): Promise<boolean> {
    const over = new AbortController();
    const stop = AbortSignal.any([signal, over.signal]);
    let opened = false;
    let wanted = false;
    const close = this.#ports.api.events(id, {
      open: () => {
        // After a gap the stream may not replay everything: the snapshot does.
        wanted ||= opened;
        opened = true;
        this.#live();
      },
      event: (event) => {
        this.#take(event);
        wanted ||= event.type === 'round' || (event.type === 'unit' && event.unit.state === 'accepted');
      },
      unfit: (fault) => this.#fail(fault),
      broken: (final) => {
        this.link = 'lost';
        if (final) over.abort();
      },
    });
    try {
      while (!stop.aborted) {
        await this.#ports.sleep(refreshMs, stop);
        if (stop.aborted) break;
        const silent = this.#ports.now() - (this.heardMs ?? 0) >= silenceMs;
        if (wanted || silent) {
          wanted = false;
          await this.#refresh(id, stop).catch(() => false);
        }
        if (silent && (await this.#superseded(id, stop))) break;
      }
    } finally {
      close();
    }
    return opened;
  }

  async #superseded(id: string, signal: AbortSignal): Promise<boolean> {
    if (this.status?.state !== 'done') return false;
    const newest = await this.#choose(signal).catch(() => null);
    return newest !== null && newest !== id;
  }

  #take(event: JobEvent): void {
    this.#live();
    this.#missed?.push(event);
    if (event.type === 'contributors' && this.network) {
      this.network = { ...this.network, contributorsOnline: event.online };
    }
    if (this.status) this.status = applyEvent(this.status, event);
  }

  #live(): void {
    this.link = 'live';
    this.#heard();
  }

  #heard(): void {
    this.heardMs = this.#ports.now();
    this.fault = null;
  }

  #fail(fault: Fault): null {
    this.fault = fault;
    this.link = 'lost';
    return null;
  }
}
