/** What a contributor earns and loses: proven, trusted, outlawed, and what it weighs. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isProven, isTrusted, standingAfter, standingOf, weightOf } from './standing.ts';
import {
  type ContributorTrust,
  defaultTrustRules as rules,
  type DeviceTrust,
  type Standing,
  type TrustEvent,
  type TrustRules,
} from './types.ts';

const newcomer: ContributorTrust = {
  ...{ stake: 0n, agreed: 0, rejected: 0, faults: 0, strikes: 0 },
  ...{ lastRejectedAt: null, outlawedAt: null, trustedAt: null },
};
const blank: DeviceTrust = { verified: 0, streak: 0, alone: 0, faults: 0 };
const without = (defence: keyof TrustRules['defences']): TrustRules => ({
  ...rules,
  defences: { ...rules.defences, [defence]: false },
});

function after(events: readonly TrustEvent[], own: TrustRules = rules) {
  let rows = { contributor: newcomer, device: blank };
  events.forEach((event, at) => (rows = standingAfter(rows, event, at, own)));
  return { ...rows, standing: standingOf(rows.contributor, rows.device, false) };
}

const times = (n: number, event: TrustEvent): TrustEvent[] => Array.from({ length: n }, () => event);
const good: TrustEvent = { type: 'agreed', by: 'proven' };
const unconfirmed: TrustEvent = { type: 'agreed', by: null };
const weak: TrustEvent = { type: 'rejected', proof: 'weak' };
const strong: TrustEvent = { type: 'rejected', proof: 'strong' };

describe('earning', () => {
  test('ten confirmed results prove, twenty are trusted', () => {
    expect(isProven(after(times(9, good)).standing, rules)).toBe(false);
    const proven = after(times(10, good));
    expect(isProven(proven.standing, rules)).toBe(true);
    expect(isTrusted(proven.standing, rules)).toBe(false);
    expect(proven.contributor.trustedAt).toBeNull();
    expect(after(times(25, good)).contributor.trustedAt).toBe(19);
  });

  test('nobody is proven by its own word', () => {
    const alone = after(times(500, unconfirmed));
    expect(alone.device).toEqual({ ...blank, alone: 500 });
    expect(isProven(alone.standing, rules)).toBe(false);
    expect(isProven(after(times(10, unconfirmed), without('independent')).standing, rules)).toBe(true);
  });

  test('a check that agrees confirms what had been accepted alone', () => {
    const { device } = after([...times(3, unconfirmed), { type: 'confirmed', by: 'referee' }]);
    expect(device).toEqual({ verified: 1, streak: 1, alone: 0, faults: 0 });
  });

  test('without escrow everybody is paid at once', () => {
    expect(isTrusted(after([]).standing, rules)).toBe(false);
    expect(isTrusted(after([]).standing, without('escrow'))).toBe(true);
  });

  test('a referee needs no record', () => {
    expect(isProven(standingOf(newcomer, blank, true), rules)).toBe(true);
  });
});

describe('losing', () => {
  test('strong proof outlaws at once, and for good', () => {
    const liar = after([...times(50, good), strong, ...times(50, good)]);
    expect(liar.contributor).toMatchObject({ faults: 1, rejected: 1, outlawedAt: 50 });
    expect(liar.standing.outlawed).toBe(true);
    expect(isProven(liar.standing, rules)).toBe(false);
    expect(weightOf(liar.standing, rules)).toBe(0);
    expect(after([strong], without('outlaw')).standing.outlawed).toBe(false);
  });

  test.each([
    [2, 0, false],
    [3, 0, true],
    [3, 49, true],
    [3, 50, false],
    [4, 50, true],
  ])('%i weak proofs after %i good results: outlawed %s', (faults, agreed, outlawed) => {
    expect(after([...times(agreed, good), ...times(faults, weak)]).standing.outlawed).toBe(outlawed);
  });

  test('one false result ends the streak of the device', () => {
    expect(after([...times(30, good), weak]).device).toMatchObject({ verified: 30, streak: 0, faults: 1 });
  });

  test('a withheld reveal costs half of the streak and a strike; a lapsed lease a strike', () => {
    const rows = after([...times(20, good), { type: 'withheld' }]);
    expect(rows.device.streak).toBe(10);
    expect(rows.contributor).toMatchObject({ strikes: 1, faults: 0, lastRejectedAt: 20 });
    expect(after([...times(20, good), { type: 'lapsed' }]).device.streak).toBe(20);
    expect(after([{ type: 'lapsed' }, good]).contributor.strikes).toBe(0);
  });

  test('who contradicts itself is outlawed by its own signatures', () => {
    expect(after([...times(90, good), { type: 'equivocated' }]).standing.outlawed).toBe(true);
  });

  test('an overturned result is taken back', () => {
    const { contributor } = after([unconfirmed, { type: 'overturned', proof: 'strong' }]);
    expect(contributor).toMatchObject({ agreed: 0, rejected: 1, faults: 1, outlawedAt: 1 });
  });

  test('who was outvoted by liars is cleared when they are caught', () => {
    const cleared = after([strong, { type: 'exonerated', by: 'proven' }]);
    expect(cleared.contributor).toMatchObject({
      agreed: 1,
      rejected: 0,
      faults: 0,
      strikes: 0,
      outlawedAt: null,
    });
    const other = after([strong, strong, { type: 'exonerated', by: 'proven' }]);
    expect(other.standing.outlawed).toBe(true);
  });
});

const standings = fc.record<Standing>({
  referee: fc.boolean(),
  outlawed: fc.boolean(),
  verified: fc.nat(100_000),
  streak: fc.nat(1_000),
  alone: fc.nat(1_000),
  faults: fc.nat(3),
  stake: fc.bigInt({ min: 0n, max: 10n ** 30n }),
});

describe('weight', () => {
  test('is an integer up to the limit, 0 for an outlaw and nobody else', () => {
    fc.assert(
      fc.property(standings, (standing) => {
        const weight = weightOf(standing, rules);
        expect(Number.isInteger(weight) && weight <= rules.weightMax).toBe(true);
        expect(weight === 0).toBe(standing.outlawed);
      }),
    );
  });

  test('says who is proven, whatever the stake', () => {
    fc.assert(
      fc.property(standings, (standing) => {
        const own = { ...standing, outlawed: false };
        expect(weightOf(own, rules) >= rules.provenWeight).toBe(isProven(own, rules));
      }),
    );
  });

  test('never falls with a longer record or a higher stake', () => {
    const more = fc.record({
      verified: fc.nat(1000),
      streak: fc.nat(100),
      stake: fc.bigInt({ min: 0n, max: 10n ** 20n }),
    });
    fc.assert(
      fc.property(standings, more, (standing, { verified, streak, stake }) => {
        const better = {
          ...standing,
          verified: standing.verified + verified,
          streak: standing.streak + streak,
          stake: standing.stake + stake,
        };
        expect(weightOf(better, rules)).toBeGreaterThanOrEqual(weightOf(standing, rules));
      }),
    );
  });
});
