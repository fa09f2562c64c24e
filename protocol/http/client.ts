/**
 * The typed client of the route table: `client.call('job', { params: { id } })` knows what it takes and what it answers.
 *
 * An answer is parsed before it is believed, and a refusal is thrown as the AtollError that it was. For tools and tests; the page, which has to stay small, fetches by
 * the shapes of `api.ts`.
 */
import * as v from 'valibot';
import { AtollError, fromProblem, problemSchema } from '../errors.ts';
import type { AnswerOf, BodyInput, Endpoint, ParamsInput, QueryInput } from './endpoint.ts';
import { type EndpointName, type Endpoints, endpoints } from './table.ts';

export interface ClientOptions {
  /** `http://host:port`. */
  base: string;
  /** An API key. */
  key?: string;
  fetch?: (request: Request) => Promise<Response>;
}

type Given<E extends Endpoint> = (E['params'] extends object ? { params: ParamsInput<E> } : object) &
  (E['query'] extends object ? { query?: QueryInput<E> } : object) &
  (E['body'] extends object ? { body: BodyInput<E>; idempotencyKey?: string } : object) & {
    signal?: AbortSignal;
  };

interface AnyGiven {
  params?: Record<string, string>;
  query?: Record<string, string | undefined>;
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

export interface Client {
  /** The parsed answer of a JSON endpoint; undefined where there is none. Throws what the server refused with. */
  call<N extends EndpointName>(name: N, given: Given<Endpoints[N]>): Promise<AnswerOf<Endpoints[N]>>;
  /** The answer as it came, refusals included. */
  send<N extends EndpointName>(name: N, given: Given<Endpoints[N]>): Promise<Response>;
}

export function createClient({ base, key, fetch: send = fetch }: ClientOptions): Client {
  const ask = (name: EndpointName, given: AnyGiven) => send(requestOf(base, key, endpoints[name], given));
  return {
    send: (name, given) => ask(name, given as AnyGiven),
    call: (async (name: EndpointName, given: AnyGiven) => {
      const response = await ask(name, given);
      if (!response.ok) throw await refusal(response);
      const { answer }: Endpoint = endpoints[name];
      if (answer.type === 'json') return v.parse(answer.schema, await response.json());
      await response.body?.cancel();
      return undefined;
    }) as Client['call'],
  };
}

function requestOf(base: string, key: string | undefined, endpoint: Endpoint, given: AnyGiven): Request {
  const { params = {}, query = {}, body, idempotencyKey, signal } = given;
  const path = endpoint.path.replace(/:([a-z]+)/gi, (_, name: string) =>
    encodeURIComponent(params[name] ?? ''),
  );
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const mediaType = endpoint.body?.type === 'bytes' ? endpoint.body.mediaTypes[0] : 'application/json';
  return new Request(url, {
    method: endpoint.method,
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...(endpoint.body ? { 'content-type': mediaType as string } : {}),
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
    },
    ...(endpoint.body ? { body: bodyOf(endpoint.body.type, body) } : {}),
    ...(signal ? { signal } : {}),
  });
}

function bodyOf(type: 'json' | 'bytes', body: unknown): BodyInit {
  return type === 'bytes' ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body);
}

async function refusal(response: Response): Promise<AtollError> {
  const problem = v.safeParse(problemSchema, await response.json().catch(() => null));
  if (problem.success) return fromProblem(problem.output);
  return new AtollError('unavailable', `HTTP status ${response.status} without a problem document.`);
}
