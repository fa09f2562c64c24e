/**
 * The page's only border to the coordinator: fetch and EventSource in, parsed values or a named fault out.
 *
 * Reading public status is all that happens here; contributing goes through `contributor.svelte.ts` and starts on a click. A fault is an
 * expected outcome, not an exception: the page must always have words for it.
 */
import * as v from 'valibot';
import { type Problem, problemSchema } from '#protocol/errors.ts';
import {
  type ContributorInfo,
  contributorSchema,
  type JobEvent,
  jobEventSchema,
  type JobList,
  jobListSchema,
  type JobStatus,
  jobStatusSchema,
  type NetworkInfo,
  networkSchema,
  routePath,
  routes,
} from '#protocol/http/api.ts';

export type Fault =
  | { kind: 'unreachable' }
  | { kind: 'refused'; problem: Problem }
  /** The answer does not fit the schema: another version, or not a coordinator. */
  | { kind: 'unfit'; path: string; message: string };

export type Fetched<T> = { ok: true; value: T } | { ok: false; fault: Fault };

export interface EventHandlers {
  open(): void;
  event(event: JobEvent): void;
  unfit(fault: Fault): void;
  /** The stream broke. `final`: it will not come back by itself. */
  broken(final: boolean): void;
}

export interface Api {
  network(signal: AbortSignal): Promise<Fetched<NetworkInfo>>;
  jobs(signal: AbortSignal): Promise<Fetched<JobList>>;
  job(id: string, signal: AbortSignal): Promise<Fetched<JobStatus>>;
  contributor(address: string, signal: AbortSignal): Promise<Fetched<ContributorInfo>>;
  /** Returns the function that closes the stream. */
  events(id: string, handlers: EventHandlers): () => void;
}

/** A status with thousands of rounds stays below this; more is not ours. */
const answerCharsMax = 16 << 20;
const answerMsMax = 15_000;

export function parseAnswer<S extends v.GenericSchema>(schema: S, value: unknown): Fetched<v.InferOutput<S>> {
  const parsed = v.safeParse(schema, value, { abortEarly: true });
  if (parsed.success) return { ok: true, value: parsed.output };
  const issue = parsed.issues[0];
  return { ok: false, fault: { kind: 'unfit', path: v.getDotPath(issue) ?? '', message: issue.message } };
}

/** Throws only when `signal` is aborted. */
async function getJson<S extends v.GenericSchema>(
  schema: S,
  path: string,
  signal: AbortSignal,
): Promise<Fetched<v.InferOutput<S>>> {
  let response: Response;
  let text: string;
  try {
    const request = { headers: { accept: 'application/json' }, cache: 'no-store' } as const;
    response = await fetch(path, {
      ...request,
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMsMax)]),
    });
    text = await response.text();
  } catch {
    signal.throwIfAborted();
    return { ok: false, fault: { kind: 'unreachable' } };
  }
  return readAnswer(schema, response.status, text);
}

export function readAnswer<S extends v.GenericSchema>(
  schema: S,
  status: number,
  text: string,
): Fetched<v.InferOutput<S>> {
  const value = text.length > answerCharsMax ? undefined : parseJson(text);
  if (status >= 200 && status < 300) return parseAnswer(schema, value);
  const problem = v.safeParse(problemSchema, value);
  if (problem.success) return { ok: false, fault: { kind: 'refused', problem: problem.output } };
  // A proxy's own error page, mostly while the coordinator behind it restarts.
  if (status >= 500) return { ok: false, fault: { kind: 'unreachable' } };
  return {
    ok: false,
    fault: { kind: 'unfit', path: '', message: `HTTP status ${status} without a problem document` },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

const eventTypes = ['round', 'unit', 'anchor', 'contributors'] as const satisfies JobEvent['type'][];

function openEvents(id: string, handlers: EventHandlers): () => void {
  const source = new EventSource(routePath(routes.jobEvents, id));
  source.onopen = () => handlers.open();
  source.onerror = () => handlers.broken(source.readyState === EventSource.CLOSED);
  for (const type of eventTypes) {
    source.addEventListener(type, ({ data }: MessageEvent<string>) => {
      const parsed = parseAnswer(jobEventSchema, parseJson(data));
      if (parsed.ok) handlers.event(parsed.value);
      else handlers.unfit(parsed.fault);
    });
  }
  return () => source.close();
}

export const httpApi: Api = {
  network: (signal) => getJson(networkSchema, routes.network, signal),
  jobs: (signal) => getJson(jobListSchema, routes.jobs, signal),
  job: (id, signal) => getJson(jobStatusSchema, routePath(routes.job, id), signal),
  contributor: (address, signal) =>
    getJson(contributorSchema, routePath(routes.contributor, address), signal),
  events: openEvents,
};
