/**
 * One error shape for every part of Atoll.
 *
 * `AtollError` is thrown inside a process; `Problem` (RFC 9457) is the same thing on a wire: HTTP bodies
 * (`application/problem+json`), WebSocket `problem` frames and `postMessage`. Switch on `code`, never on
 * `instanceof`: errors cross worker borders as plain objects.
 */
import * as v from 'valibot';

/** Every stable error code, with the HTTP status it maps to and whether trying again can help. */
export const errorCodes = {
  bad_request: { status: 400, retryable: false, title: 'The request is malformed' },
  bad_frame: { status: 400, retryable: false, title: 'The frame is malformed' },
  unauthorized: { status: 401, retryable: false, title: 'An API key or a signature is needed' },
  forbidden: { status: 403, retryable: false, title: 'Not allowed' },
  bad_signature: { status: 401, retryable: false, title: 'The signature does not match the contributor' },
  not_found: { status: 404, retryable: false, title: 'No such thing' },
  method_not_allowed: { status: 405, retryable: false, title: 'Method not allowed' },
  conflict: { status: 409, retryable: false, title: 'The request conflicts with what is recorded' },
  leased: { status: 409, retryable: true, title: 'A neighbour is fetching this block' },
  stale_lease: { status: 409, retryable: false, title: 'The lease is not yours or no longer open' },
  commitment_mismatch: { status: 409, retryable: false, title: 'The reveal does not open the commitment' },
  too_large: { status: 413, retryable: false, title: 'Too large' },
  out_of_range: { status: 416, retryable: false, title: 'The range is not within the bytes' },
  unsupported_media_type: {
    status: 415,
    retryable: false,
    title: 'The body is not of a type that is taken here',
  },
  unknown_program: { status: 422, retryable: false, title: 'Unknown program' },
  bad_input: { status: 422, retryable: false, title: 'The input is not usable' },
  bad_block: { status: 422, retryable: false, title: 'The bytes do not match their CID' },
  nonconforming: { status: 403, retryable: false, title: 'The device failed the conformance probe' },
  rate_limited: { status: 429, retryable: true, title: 'Too many requests' },
  internal: { status: 500, retryable: true, title: 'Internal error' },
  unavailable: { status: 503, retryable: true, title: 'Not available now' },
  device_lost: { status: 503, retryable: true, title: 'The device was lost' },
  no_device: { status: 503, retryable: false, title: 'No usable device' },
  out_of_memory: { status: 503, retryable: false, title: 'The device has not enough memory' },
  cancelled: { status: 499, retryable: true, title: 'Cancelled' },
  storage_failed: { status: 503, retryable: true, title: 'The storage failed' },
  port_busy: { status: 503, retryable: false, title: 'The port is taken' },
  wrong_server: { status: 403, retryable: false, title: 'The server is not the one that is known' },
  bad_config: { status: 400, retryable: false, title: 'The configuration is not usable' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof errorCodes;

export interface AtollErrorOptions {
  /** Facts for the reader: never a key, a tensor or a peer's address. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** The one error class. `message` is a sentence that names the remedy where there is one. */
export class AtollError extends Error {
  override readonly name = 'AtollError';
  readonly code: ErrorCode;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: AtollErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return errorCodes[this.code].retryable;
  }
}

/** RFC 9457 problem details, plus our stable `code`. */
export const problemSchema = v.object({
  type: v.string(),
  title: v.string(),
  status: v.pipe(v.number(), v.integer()),
  code: v.string(),
  detail: v.string(),
  retryable: v.boolean(),
  details: v.optional(v.record(v.string(), v.unknown())),
  /** The request that failed, as a URN: what to name when asking the operator. */
  instance: v.optional(v.string()),
});
export type Problem = v.InferOutput<typeof problemSchema>;

/** The code of any thrown value; `internal` for what is not ours. */
export function codeOf(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && Object.hasOwn(errorCodes, code) ? (code as ErrorCode) : 'internal';
}

/** Any thrown value as a `Problem`. What is not ours says nothing of its inside. */
export function toProblem(error: unknown): Problem {
  const code = codeOf(error);
  const { status, retryable, title } = errorCodes[code];
  const known = code !== 'internal' || error instanceof AtollError;
  const { message, details: facts } = (known ? error : {}) as Partial<AtollError>;
  const detail = known ? String(message ?? title) : 'Something went wrong inside; the log has it.';
  const details = known ? plainFacts(facts) : undefined;
  return {
    type: `urn:atoll:problem:${code}`,
    title,
    status,
    code,
    detail,
    retryable,
    ...(details && Object.keys(details).length > 0 ? { details } : {}),
  };
}

/** Details as JSON can hold them, so that a problem always fits a wire: a bigint becomes text, what has no form is left out. */
function plainFacts(details: unknown): Record<string, unknown> | undefined {
  if (details === null || typeof details !== 'object' || Array.isArray(details)) return undefined;
  try {
    return JSON.parse(
      JSON.stringify(details, (_, value) => (typeof value === 'bigint' ? value.toString() : value)),
    );
  } catch {
    return undefined;
  }
}

/** A received `Problem` as a throwable error. */
export function fromProblem(problem: Problem): AtollError {
  const code = codeOf(problem);
  return new AtollError(code, problem.detail, { details: problem.details ?? {} });
}
