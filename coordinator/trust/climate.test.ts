/** Free keys: they worsen the climate for an hour, not for a month. */
import { expect, test } from 'vitest';
import { freeKeyMs, isJudged, judgedMs } from './climate.ts';

const row = {
  ...{ stake: 0n, agreed: 0, rejected: 0, faults: 0, strikes: 0 },
  ...{ lastRejectedAt: null, outlawedAt: null, trustedAt: null, lastSeenAt: 0 },
};

test('who has had a result judged counts for as long as it comes', () => {
  expect(isJudged(row, 0)).toBe(false);
  expect(isJudged({ ...row, agreed: 1 }, judgedMs - 1)).toBe(true);
  expect(isJudged({ ...row, rejected: 1 }, judgedMs - 1)).toBe(true);
  expect(isJudged({ ...row, agreed: 1 }, judgedMs)).toBe(false);
});

test('a key that was outlawed before anything of it was accepted counts for an hour, any other outlaw as all do', () => {
  const outlaw = { ...row, rejected: 1, outlawedAt: 0 };
  expect(isJudged(outlaw, freeKeyMs - 1)).toBe(true);
  expect(isJudged(outlaw, freeKeyMs)).toBe(false);
  expect(isJudged({ ...outlaw, agreed: 1 }, freeKeyMs)).toBe(true);
});
