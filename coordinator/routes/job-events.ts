/**
 * `/v1/jobs/{id}/events`: a job's events as server-sent events. A client that comes back with Last-Event-ID gets what it missed; one that has missed
 * too much, or is new, first gets the present state.
 */

import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { JobEvent } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { EventHub, NumberedEvent } from '../service/events.ts';
import type { Queries } from '../service/queries.ts';
import type { AppContext } from './context.ts';

export interface JobEventsPorts {
  queries: Queries;
  events: EventHub;
  network: () => { contributorsOnline: number };
  heartbeatMs: number;
}

export async function jobEvents(context: AppContext, job: Cid, ports: JobEventsPorts): Promise<Response> {
  const { events, heartbeatMs } = ports;
  if (events.isFull) {
    throw new AtollError('unavailable', 'Too many event streams are open. Try again later.');
  }
  const resumeAt = lastEventId(context);
  const waiting: NumberedEvent[] = [];
  let ring: () => void = () => {};
  // Subscribed before the present state is read, so that nothing falls between.
  const unsubscribe = events.subscribe(job, (numbered) => {
    waiting.push(numbered);
    ring();
  });
  const missed = resumeAt === null ? null : events.since(job, resumeAt);
  let opening: NumberedEvent[];
  try {
    opening = missed && !missed.gap ? missed.events : await presentState(job, resumeAt !== null, ports);
  } catch (error) {
    unsubscribe();
    throw error;
  }
  context.header('Cache-Control', 'no-store');
  return streamSSE(context, async (stream) => {
    stream.onAbort(() => ring());
    try {
      for (const numbered of opening) await write(stream, numbered);
      while (!stream.aborted && !stream.closed) {
        // A client that reads too slowly comes back with Last-Event-ID.
        if (waiting.length > limits.eventsReplayMax) return;
        const batch = waiting.splice(0);
        for (const numbered of batch) await write(stream, numbered);
        if (batch.length === 0 && !(await rang(heartbeatMs, (set) => (ring = set)))) {
          await stream.write(': still here\n\n');
        }
      }
    } finally {
      unsubscribe();
    }
  });
}

/** Waits for the bell or for `ms`; says whether the bell rang. */
function rang(ms: number, install: (ring: () => void) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms);
    install(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

function write(stream: SSEStreamingApi, { seq, event }: NumberedEvent): Promise<void> {
  return stream.writeSSE({ id: String(seq), event: event.type, data: JSON.stringify(event) });
}

function lastEventId(context: AppContext): number | null {
  const text = context.req.header('last-event-id');
  if (text === undefined || !/^\d{1,16}$/.test(text)) return null;
  return Number(text);
}

/** The lanes and who is online; after a gap also every round, since one may have been missed. Throws `not_found`. */
async function presentState(job: Cid, gap: boolean, ports: JobEventsPorts): Promise<NumberedEvent[]> {
  const status = await ports.queries.job(job);
  const rounds = gap ? status.rounds.slice(-limits.eventsReplayMax) : [];
  const state: JobEvent[] = [
    ...rounds.map((round): JobEvent => ({ type: 'round', round })),
    ...status.units.map((unit): JobEvent => ({ type: 'unit', unit })),
    { type: 'contributors', online: ports.network().contributorsOnline },
  ];
  const seq = ports.events.seq;
  return state.map((event) => ({ seq, event }));
}
