/**
 * What one entry of the route table says: everything that the server checks, that OpenAPI documents and that the typed client relies on.
 *
 * Path parameters and queries are schemas over strings, since that is what a URL holds. An answer that is not JSON names its media type.
 */
import * as v from 'valibot';
import type { ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';

export type TextEntries = Record<string, v.GenericSchema<string | undefined, unknown>>;
export type TextSchema = v.ObjectSchema<TextEntries, undefined>;

/** Who may ask. `key`: an API key of a client. `operator`: whoever runs the coordinator, by a key or by being on the same machine. */
export type Auth = 'none' | 'key' | 'operator';

/** What a request counts against; see `buckets` of the coordinator's rate limits. */
export type Bucket = 'read' | 'block' | 'stream' | 'sign-in' | 'write';

export type Body =
  | { type: 'json'; schema: v.GenericSchema; bytesMax: number }
  | { type: 'bytes'; mediaTypes: readonly string[]; bytesMax: number; description: string };

export type Answer =
  | { type: 'json'; schema: v.GenericSchema; status: 200 | 201 | 202 }
  | { type: 'events'; schema: v.GenericSchema; status: 200 }
  | { type: 'bytes'; mediaTypes: readonly string[]; status: 200 }
  | { type: 'text'; mediaType: string; status: 200 }
  | { type: 'none'; status: 204 };

export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly tag: 'network' | 'jobs' | 'records' | 'accounts' | 'blocks' | 'operations';
  /** A line. */
  readonly summary: string;
  readonly description?: string;
  readonly auth: Auth;
  readonly bucket: Bucket;
  readonly params?: TextSchema;
  readonly query?: TextSchema;
  /** Headers that change the answer, and how. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Body;
  readonly answer: Answer;
  /** Besides those that every endpoint may answer: `bad_request`, `rate_limited`, `internal`, `unavailable`. */
  readonly errors: readonly ErrorCode[];
  /** Takes an Idempotency-Key: the same request again gets the first one's answer. */
  readonly repeatable?: true;
  /** Takes Last-Event-ID. */
  readonly resumable?: true;
}

type OutputOf<S> = S extends v.GenericSchema ? v.InferOutput<S> : Record<never, never>;
type InputOf<S> = S extends v.GenericSchema ? v.InferInput<S> : Record<never, never>;

export type ParamsOf<E extends Endpoint> = OutputOf<E['params']>;
export type QueryOf<E extends Endpoint> = OutputOf<E['query']>;
export type QueryInput<E extends Endpoint> = InputOf<E['query']>;
export type ParamsInput<E extends Endpoint> = InputOf<E['params']>;
/** JSON as parsed; a stream of bytes where the body is one. */
export type BodyOf<E extends Endpoint> = E['body'] extends { type: 'json'; schema: infer S }
  ? OutputOf<S>
  : E['body'] extends { type: 'bytes' }
    ? ReadableStream<Uint8Array>
    : undefined;
export type BodyInput<E extends Endpoint> = E['body'] extends { type: 'json'; schema: infer S }
  ? InputOf<S>
  : E['body'] extends { type: 'bytes' }
    ? Uint8Array<ArrayBuffer>
    : undefined;
/** What a JSON endpoint answers; undefined for the others. */
export type AnswerOf<E extends Endpoint> = E['answer'] extends { type: 'json'; schema: infer S }
  ? OutputOf<S>
  : undefined;
export type AnswerInput<E extends Endpoint> = E['answer'] extends { type: 'json'; schema: infer S }
  ? InputOf<S>
  : undefined;

export function endpoint<const E extends Endpoint>(described: E): E {
  return described;
}

/** Rows of a page: `?limit=`, as text. */
export const pageLimitSchema = v.optional(
  v.pipe(
    v.string(),
    v.regex(/^\d{1,4}$/, 'expected a number'),
    v.transform(Number),
    v.minValue(1),
    v.maxValue(limits.pageSizeMax),
  ),
  '50',
);

/** `next` of the page before. Nothing is promised about what is inside. */
export const cursorSchema = v.optional(
  v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,512}$/, 'not a cursor of this server')),
);

export const pageQuery = { limit: pageLimitSchema, cursor: cursorSchema };
/** A page's last field: the cursor of the next one, null where there is none. */
export const nextSchema = v.nullable(v.string());
