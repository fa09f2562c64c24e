/**
 * Events of jobs, for the event streams: numbered, the last ones kept, so that a stream that broke off can go on where it was.
 *
 * Events are hints and may be lost with the process; the database is the truth. Numbers start from the clock, so that they go on rising over
 * restarts.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { JobEvent } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { Clock } from './ports.ts';

export interface NumberedEvent {
  seq: number;
  event: JobEvent;
}

export type EventListener = (numbered: NumberedEvent) => void;

interface Channel {
  recent: NumberedEvent[];
  listeners: Set<EventListener>;
}

/** Numbers per millisecond of uptime that cannot run into those of a later start. */
const seqPerMs = 1024;

/** A stream that broke off is back within this time, or starts over. */
const comebackMs = 60_000;

export class EventHub {
  readonly #clock: Clock;
  #seq: number;
  #heardAt = -Infinity;
  #listeners = 0;
  readonly #channels = new Map<Cid, Channel>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#seq = clock.now() * seqPerMs;
  }

  /** The number of the last event. */
  get seq(): number {
    return this.#seq;
  }

  get listeners(): number {
    return this.#listeners;
  }

  /** Somebody listens, or may be about to come back. */
  get isHeard(): boolean {
    return this.#listeners > 0 || this.#clock.now() - this.#heardAt < comebackMs;
  }

  get isFull(): boolean {
    return this.#listeners >= limits.sseClientsMax;
  }

  publish(job: Cid, event: JobEvent): void {
    const channel = this.#channel(job);
    const numbered = { seq: ++this.#seq, event };
    channel.recent.push(numbered);
    if (channel.recent.length > limits.eventsReplayMax) channel.recent.shift();
    for (const listener of channel.listeners) listener(numbered);
  }

  /** To every job that has a channel. */
  publishAll(event: JobEvent): void {
    for (const job of this.#channels.keys()) this.publish(job, event);
  }

  /** Something has happened that was not published: a stream that broke off before has a gap. */
  lose(): void {
    this.#seq++;
    for (const channel of this.#channels.values()) channel.recent.length = 0;
  }

  /** Events after `seq` that are still kept, and whether some are gone. */
  since(job: Cid, seq: number): { events: NumberedEvent[]; gap: boolean } {
    const { recent } = this.#channel(job);
    const events = recent.filter((numbered) => numbered.seq > seq);
    // Whoever holds the newest number has missed nothing; otherwise the event it holds, or an older one, must still be kept.
    const isCovered = seq === this.#seq || recent.some((numbered) => numbered.seq <= seq);
    return { events, gap: !isCovered };
  }

  /** Calls `listener` for every later event, until the returned function is called. */
  subscribe(job: Cid, listener: EventListener): () => void {
    const { listeners } = this.#channel(job);
    listeners.add(listener);
    this.#listeners++;
    return () => {
      if (!listeners.delete(listener)) return;
      this.#listeners--;
      this.#heardAt = this.#clock.now();
    };
  }

  #channel(job: Cid): Channel {
    let channel = this.#channels.get(job);
    if (!channel) this.#channels.set(job, (channel = { recent: [], listeners: new Set() }));
    return channel;
  }
}
