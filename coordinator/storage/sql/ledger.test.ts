/** The ledger in both databases: sealing in any batches, sums of what is sealed, and what is read of it. */
import type { Hex } from 'viem';
import { describe, expect, test } from 'vitest';
import { creditOf, escrowOf, forfeit, issued } from '../../ledger/accounts.ts';
import { brokenAt, firstTip } from '../../ledger/chain.ts';
import type { NewTransfer } from '../../record/rows.ts';
import { useDatabases } from '../../testing/databases.ts';
import { balancesOf, rewards, seal, sharesOf, tipOf, transfersAfter, transfersOf } from './ledger.ts';
import type { Db } from './schema.ts';

const open = useDatabases();

const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const [ann, bob] = [address(1), address(2)];
const beyond64 = 2n ** 70n;
const of = (
  kind: NewTransfer['kind'],
  debit: string,
  credit: string,
  amount: bigint,
  job: string | null = 'job',
) => ({
  ...{ kind, debit, credit, amount, job },
});

async function post(db: Db, transfers: ReturnType<typeof of>[]): Promise<void> {
  for (const { amount, ...transfer } of transfers) {
    const row = { ...transfer, amount: String(amount), unit: 'unit', assignment: address(9), reason: 'why' };
    await db
      .insertInto('transfers')
      .values({ ...row, at: 5, seq: null, hash: null })
      .execute();
  }
}

async function contributors(db: Db, outlawed: Hex | null = null): Promise<void> {
  for (const contributor of [ann, bob]) {
    await db
      .insertInto('contributors')
      .values({
        ...{ address: contributor, owner: contributor, prefix: '', device: '', vendor: '', tier: 'mobile' },
        ...{ stake: '0', agreed: 0, rejected: 0, faults: 0, strikes: 0, last_rejected_at: null },
        outlawed_at: contributor === outlawed ? 1 : null,
        ...{ trusted_at: null, first_seen_at: 0, last_seen_at: 0 },
      })
      .execute();
  }
}

describe.each(['sqlite', 'postgres'] as const)('on %s', (name) => {
  const opened = open[name];

  test('transfers are chained in batches, none twice, and the sums follow the chain', async (context) => {
    const db = await opened(context);
    await contributors(db);
    expect(await tipOf(db)).toEqual(firstTip);
    expect(await rewards(db)).toEqual({ tip: firstTip, rewards: [] });
    await post(db, [
      of('earned', issued, escrowOf(ann), 100n),
      of('earned', issued, creditOf(bob), beyond64),
      of('released', escrowOf(ann), creditOf(ann), 100n, null),
    ]);
    expect(await seal(db, 2)).toBe(2);
    expect(await rewards(db)).toMatchObject({
      tip: { seq: 2 },
      rewards: [{ contributor: bob, amount: beyond64 }],
    });
    await post(db, [
      of('clawback', creditOf(bob), forfeit, beyond64),
      of('earned', issued, creditOf(bob), 7n),
    ]);
    expect(await seal(db, 1000)).toBe(3);
    expect(await seal(db, 1000)).toBe(0);
    const all = await transfersAfter(db, 0, 100);
    expect(all.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
    expect(all[1]?.amount).toBe(beyond64);
    expect(brokenAt(all)).toBeNull();
    expect(brokenAt(await transfersAfter(db, 3, 1), all[2])).toBeNull();
    expect(await tipOf(db)).toEqual({ seq: 5, hash: all[4]?.hash });
    expect(await rewards(db)).toEqual({
      tip: await tipOf(db),
      rewards: [
        { contributor: ann, amount: 100n },
        { contributor: bob, amount: 7n },
      ],
    });
    expect(await sharesOf(db, 'job', { most: 10 })).toEqual([
      { contributor: ann, amount: 100n },
      { contributor: bob, amount: 7n },
    ]);
    expect(await sharesOf(db, 'job', { after: ann, most: 10 })).toEqual([{ contributor: bob, amount: 7n }]);
    expect(await sharesOf(db, 'another', { most: 10 })).toEqual([]);
  });

  test('a batch larger than one statement takes is sealed whole', async (context) => {
    const db = await opened(context);
    const row = {
      kind: 'earned' as const,
      debit: issued,
      amount: '3',
      unit: null,
      assignment: null,
      reason: '',
    };
    for (let part = 0; part < 10; part++) {
      const values = Array.from({ length: 100 }, (_, i) => ({
        ...{
          ...row,
          credit: creditOf(address(part * 100 + i)),
          job: `job ${i % 7}`,
          at: 1,
          seq: null,
          hash: null,
        },
      }));
      await db.insertInto('transfers').values(values).execute();
    }
    expect(await seal(db, 10_000)).toBe(1000);
    expect(brokenAt(await transfersAfter(db, 0, 1000))).toBeNull();
    const { rewards: all } = await rewards(db);
    expect([all.length, all.reduce((sum, { amount }) => sum + amount, 0n)]).toEqual([1000, 3000n]);
  });

  test('an outlaw has no share, and who has lost everything no reward', async (context) => {
    const db = await opened(context);
    await contributors(db, bob);
    await post(db, [
      of('earned', issued, creditOf(ann), 5n),
      of('earned', issued, creditOf(bob), 5n),
      of('clawback', creditOf(bob), forfeit, 5n, 'older job'),
    ]);
    await seal(db, 10);
    expect(await sharesOf(db, 'job', { most: 10 })).toEqual([{ contributor: ann, amount: 5n }]);
    expect((await rewards(db)).rewards).toEqual([{ contributor: ann, amount: 5n }]);
  });

  test('a contributor reads its own transfers, newest first and in pages, and its balances', async (context) => {
    const db = await opened(context);
    await db
      .insertInto('accounts')
      .values([
        { id: escrowOf(ann), balance: '12' },
        { id: creditOf(ann), balance: String(beyond64) },
      ])
      .execute();
    expect(await balancesOf(db, ann)).toEqual({ posted: beyond64, escrowed: 12n });
    expect(await balancesOf(db, bob)).toEqual({ posted: 0n, escrowed: 0n });
    await post(db, [
      of('earned', issued, escrowOf(ann), 1n),
      of('earned', issued, escrowOf(bob), 2n),
      of('released', escrowOf(ann), creditOf(ann), 3n),
      of('fine', creditOf(ann), forfeit, 4n),
    ]);
    await seal(db, 1);
    const first = await transfersOf(db, ann, 2);
    expect(first.map(({ amount, seq }) => [amount, seq])).toEqual([
      [4n, 0],
      [3n, 0],
    ]);
    const rest = await transfersOf(db, ann, 2, first[1]?.id);
    expect(rest.map(({ amount, seq }) => [amount, seq])).toEqual([[1n, 1]]);
  });
});
