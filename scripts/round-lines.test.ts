/** A round's line waits for its anchor, without one it comes all the same, and every line comes once. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { RoundSummary } from '#protocol/http/api.ts';
import { RoundLines, roundLine } from './round-lines.ts';

const round: RoundSummary = {
  round: 3,
  loss: 2.91337,
  trainLoss: 3,
  checkpoint: 'bafyreib',
  lanes: 2,
  tokens: 25_600,
  seconds: 10,
  tokensPerSecond: 2560,
  contributors: 2,
  unitsAccepted: 4,
  unitsSplit: 0,
  replicasUsed: 8,
  anchor: null,
};
const anchor = { root: `0x${'1'.repeat(64)}`, tx: `0x${'ab'.repeat(32)}`, blockNumber: 7 } as const;

test('a line says what a person wants to know', () => {
  expect(roundLine({ ...round, anchor }, { unigramEntropy: 3.232, sourceEntropy: 0.342 })).toBe(
    'round   3 | 2 lanes | loss 2.913 (letters alone 3.232, limit 0.342) | 2 contributors | 2560 tokens/s | units 4 agreed, 0 split | anchor 0xababababab…',
  );
  expect(roundLine(round, { unigramEntropy: 3.232, sourceEntropy: null })).toContain(
    '(letters alone 3.232) |',
  );
});

describe('lines', () => {
  let printed: RoundSummary[];
  const lines = (withChain: boolean) => new RoundLines((summary) => void printed.push(summary), withChain);
  beforeEach(() => {
    vi.useFakeTimers();
    printed = [];
  });
  afterEach(() => void vi.useRealTimers());

  test('come with the anchor', () => {
    const out = lines(true);
    out.onRound(round);
    expect(printed).toEqual([]);
    out.onAnchor(3, anchor);
    vi.runAllTimers();
    expect(printed).toEqual([{ ...round, anchor }]);
  });

  test('come at once without a chain, and late rather than never when the chain is away', () => {
    lines(false).onRound(round);
    expect(printed).toEqual([round]);
    const out = lines(true);
    out.onRound(round);
    vi.runAllTimers();
    expect(printed).toEqual([round, round]);
    out.onAnchor(3, anchor);
    expect(printed).toHaveLength(2);
  });

  test('that are held back come out at the end', () => {
    const out = lines(true);
    out.onRound(round);
    out.close();
    vi.runAllTimers();
    expect(printed).toEqual([round]);
  });
});
