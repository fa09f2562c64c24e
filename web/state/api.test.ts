/** The border: what the coordinator may answer, and what the page makes of the rest. */
import { describe, expect, it } from 'vitest';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { contributorSchema, jobListSchema, jobStatusSchema, networkSchema } from '#protocol/http/api.ts';
import { contributor, listOf, makeStatus, network } from '../e2e/fixtures.ts';
import { parseAnswer, readAnswer } from './api.ts';

describe('readAnswer', () => {
  it('takes what fits the schemas', () => {
    expect(parseAnswer(networkSchema, network)).toEqual({ ok: true, value: network });
    expect(parseAnswer(jobListSchema, listOf(makeStatus(2))).ok).toBe(true);
    expect(parseAnswer(contributorSchema, contributor).ok).toBe(true);
    const status = makeStatus(14);
    expect(readAnswer(jobStatusSchema, 200, JSON.stringify(status))).toEqual({ ok: true, value: status });
  });

  it('names the first place that does not fit', () => {
    const status = makeStatus(2);
    const spoiled = { ...status, rounds: [status.rounds[0], { ...status.rounds[1], loss: 'low' }] };
    const answer = readAnswer(jobStatusSchema, 200, JSON.stringify(spoiled));
    expect(answer).toMatchObject({ ok: false, fault: { kind: 'unfit', path: 'rounds.1.loss' } });
  });

  it('calls an answer that is no JSON unfit', () => {
    expect(readAnswer(networkSchema, 200, '<!doctype html>')).toMatchObject({ fault: { kind: 'unfit' } });
  });

  it('passes a problem document on', () => {
    const problem = toProblem(new AtollError('rate_limited', 'Ask again in a minute.'));
    expect(readAnswer(networkSchema, 429, JSON.stringify(problem))).toEqual({
      ok: false,
      fault: { kind: 'refused', problem },
    });
  });

  it('takes a proxy’s error page for an absent coordinator, and only then', () => {
    expect(readAnswer(networkSchema, 502, '<h1>Bad gateway</h1>')).toMatchObject({
      fault: { kind: 'unreachable' },
    });
    expect(readAnswer(networkSchema, 404, 'not found')).toMatchObject({ fault: { kind: 'unfit' } });
  });
});
