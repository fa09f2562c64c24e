/** Every error of the HTTP side as `application/problem+json` (RFC 9457), naming the request that failed. */
import { HTTPException } from 'hono/http-exception';
import { AtollError, type ErrorCode, toProblem } from '#protocol/errors.ts';
import type { Metrics } from '../service/metrics.ts';
import type { Logger } from '../service/ports.ts';
import type { AppContext } from './context.ts';

export function problemResponse(
  context: AppContext,
  error: unknown,
  metrics: Metrics,
  log: Logger,
): Response {
  const requestId = context.get('requestId') as string | undefined;
  const problem = {
    ...toProblem(error instanceof HTTPException ? fromHttp(error) : error),
    ...(requestId === undefined ? {} : { instance: `urn:atoll:request:${requestId}` }),
  };
  metrics.problem(problem.code);
  if (problem.status >= 500) log.error({ err: error, requestId }, 'A request failed.');
  return context.body(JSON.stringify(problem), problem.status as 400, {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
}

/** What Hono's own middleware throws. */
function fromHttp(error: HTTPException): AtollError {
  const codes: Record<number, ErrorCode> = { 400: 'bad_request', 404: 'not_found', 413: 'too_large' };
  return new AtollError(codes[error.status] ?? 'internal', error.message || 'The request failed.', {
    cause: error,
  });
}
