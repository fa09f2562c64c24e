/** Errors as problems: they fit every wire, survive it, and tell nothing of what is inside. */
import * as fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { AtollError, codeOf, errorCodes, fromProblem, problemSchema, toProblem } from './errors.ts';
import { encodeFrame } from './messages/frames.ts';
import { atollErrorArb } from './testing/arbitraries.ts';

describe('problems', () => {
  it('hold every AtollError, and any wire can carry them', () => {
    fc.assert(
      fc.property(atollErrorArb, (error) => {
        const problem = toProblem(error);
        expect(v.safeParse(problemSchema, problem).success).toBe(true);
        expect(v.parse(problemSchema, JSON.parse(JSON.stringify(problem)))).toEqual(problem);
        expect(() => encodeFrame({ t: 'problem', problem })).not.toThrow();
        const back = fromProblem(problem);
        expect(back.code).toBe(error.code);
        expect(back.message).toBe(error.message);
        expect(back.retryable).toBe(errorCodes[error.code].retryable);
      }),
    );
  });

  it('say nothing of what is inside when the error is not ours', () => {
    const secret = 'SQLITE_CORRUPT at /var/lib';
    for (const error of [
      new Error(secret),
      secret,
      { code: 'ENOENT', message: secret },
      null,
      undefined,
      7,
    ]) {
      const problem = toProblem(error);
      expect(problem.code).toBe('internal');
      expect(JSON.stringify(problem)).not.toContain(secret);
    }
  });

  it('are well-formed for any thrown value', () => {
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom('conflict', 'internal', 'nonsense'), (thrown, code) => {
        expect(v.safeParse(problemSchema, toProblem(thrown)).success).toBe(true);
        const details = thrown;
        expect(v.safeParse(problemSchema, toProblem({ code, details })).success).toBe(true);
      }),
    );
  });

  it('keep their code across a worker border, where the class is lost', () => {
    const error = new AtollError('stale_lease', 'Gone.');
    expect(codeOf({ ...error, message: error.message, code: error.code })).toBe('stale_lease');
    expect(codeOf({ code: 'toString' })).toBe('internal');
    expect(fromProblem({ ...toProblem(error), code: 'of a newer version' }).code).toBe('internal');
  });

  it('carry a bigint as text and leave out what has no form', () => {
    const details = { n: 2n ** 70n, gone: undefined, f: () => 1, kept: 'x' };
    expect(toProblem(new AtollError('conflict', 'x', { details })).details).toEqual({
      n: '1180591620717411303424',
      kept: 'x',
    });
  });

  it('take their status from the table', () => {
    for (const [code, { status, retryable }] of Object.entries(errorCodes)) {
      expect(toProblem(new AtollError(code as keyof typeof errorCodes, 'x'))).toMatchObject({
        status,
        retryable,
        code,
      });
      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(600);
    }
  });
});
