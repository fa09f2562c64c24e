/** Every error of the HTTP side as `application/problem+json` (RFC 9457). */
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { AtollError, type ErrorCode, toProblem } from '#protocol/errors.ts';
import type { Metrics } from '../service/metrics.ts';
import type { Logger } from '../service/ports.ts';

export function problemResponse(error: unknown, metrics: Metrics, log: Logger): Response {
  const problem = toProblem(error instanceof HTTPException ? fromHttp(error) : error);
  metrics.problem(problem.code);
  if (problem.status >= 500) log.error({ err: error }, 'A request failed.');
  return Response.json(problem, {
    status: problem.status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
  });
}

/** What Hono's own middleware throws. */
function fromHttp(error: HTTPException): AtollError {
  const codes: Record<number, ErrorCode> = { 400: 'bad_request', 404: 'not_found', 413: 'too_large' };
  return new AtollError(codes[error.status] ?? 'internal', error.message || 'The request failed.', {
    cause: error,
  });
}

/** For a known path asked with another method. */
export function methodNotAllowed(context: Context): never {
  context.header('Allow', 'GET, HEAD');
  throw new AtollError('method_not_allowed', `${context.req.path} answers GET only.`);
}
