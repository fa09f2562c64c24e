/**
 * The ledger in SQL: sealing, and what is read of it. Each function runs within a transaction, or on a connection, of the caller.
 *
 * There is one sealer at a time over all processes (the caller holds the lock). It gives transfers their place and hash, and adds them to the
 * sums that are kept of sealed transfers only, so that rewards and shares always belong to a tip of the chain that anybody can recompute.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { type RawBuilder, sql } from 'kysely';
import type { Hex } from 'viem';
import { creditOf, escrowOf, isCredit, holderOf, poolOf } from '../../ledger/accounts.ts';
import {
  balanceChanges,
  firstTip,
  sealTransfers,
  type SealedTransfer,
  shareChanges,
  type Tip,
} from '../../ledger/chain.ts';
import type { Transfer } from '../../record/rows.ts';
import type { Balances, Reward } from '../port.ts';
import type { Db } from './schema.ts';

/** Rows in one statement: far below the most variables that either database takes. */
const rowsMax = 400;

const columns = [
  ...(['id', 'seq', 'kind', 'debit', 'credit', 'amount', 'job', 'unit', 'assignment', 'reason'] as const),
  ...(['at', 'hash'] as const),
];

/** A transfer with its place in the table. */
export type PlacedSeal = SealedTransfer & { id: number };

/** Up to `most` transfers that are not sealed yet, oldest first, as they will be; nothing is written. */
export async function chained(db: Db, most: number): Promise<PlacedSeal[]> {
  const tip = await tipOf(db);
  const open = await db
    .selectFrom('transfers')
    .select(columns)
    .where('seq', 'is', null)
    .orderBy('id')
    .limit(most)
    .execute();
  const sealed = sealTransfers(
    tip,
    open.map((row, i) => transferOf({ ...row, seq: tip.seq + 1 + i })),
  );
  return sealed.map((transfer, i) => ({ id: Number(open[i]?.id), ...transfer }));
}

/** Chains up to `most` transfers; resolves with how many there were. */
export async function seal(db: Db, most: number): Promise<number> {
  const sealed = await chained(db, most);
  for (const part of inParts(sealed)) {
    const values = part.map(({ id, seq, hash }) => sql`(${whole(id)}, ${whole(seq)}, ${hash})`);
    await sql`UPDATE transfers SET seq = v.column2, hash = v.column3
      FROM (VALUES ${sql.join(values)}) AS v WHERE transfers.id = v.column1`.execute(db);
  }
  await addRewards(db, sealed);
  await addShares(db, sealed);
  return sealed.length;
}

/** The chain's last transfer; before the first, the chain's beginning. */
export async function tipOf(db: Db): Promise<Tip> {
  const row = await db
    .selectFrom('transfers')
    .select(['seq', 'hash'])
    .where('seq', 'is not', null)
    .orderBy('seq', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row ? { seq: Number(row.seq), hash: row.hash as Hex } : firstTip;
}

/** Sealed transfers after a place of the chain, in its order. */
export async function transfersAfter(db: Db, seq: number, most: number): Promise<SealedTransfer[]> {
  const rows = await db
    .selectFrom('transfers')
    .select(columns)
    .where('seq', '>', seq)
    .orderBy('seq')
    .limit(most)
    .execute();
  return rows.map((row) => ({ ...transferOf(row), hash: row.hash as Hex }));
}

/** A contributor's transfers, newest first, sealed or not yet (`seq` 0); `before` is the `id` of the last one seen. */
export async function transfersOf(
  db: Db,
  contributor: Hex,
  most: number,
  before: number | null = null,
): Promise<(Transfer & { id: number })[]> {
  const accounts = [escrowOf(contributor), creditOf(contributor)];
  const side = (column: 'debit' | 'credit') =>
    db
      .selectFrom('transfers')
      .select(columns)
      .where(column, 'in', accounts)
      .$if(before !== null, (query) => query.where('id', '<', before as number))
      .orderBy('id', 'desc')
      .limit(most)
      .execute();
  const rows = [...(await side('debit')), ...(await side('credit'))].map((row) => ({
    ...transferOf(row),
    id: Number(row.id),
  }));
  // A release stands on both sides.
  const unique = [...new Map(rows.map((row) => [row.id, row])).values()];
  return unique.sort((a, b) => b.id - a.id).slice(0, most);
}

export async function balancesOf(db: Db, contributor: Hex): Promise<Balances> {
  const rows = await db
    .selectFrom('accounts')
    .select(['id', 'balance'])
    .where('id', 'in', [escrowOf(contributor), creditOf(contributor)])
    .execute();
  const of = (id: string) => BigInt(rows.find((row) => row.id === id)?.balance ?? 0);
  return { posted: of(creditOf(contributor)), escrowed: of(escrowOf(contributor)) };
}

export async function poolLeft(db: Db, job: Cid): Promise<bigint | null> {
  const row = await db
    .selectFrom('accounts')
    .select('balance')
    .where('id', '=', poolOf(job))
    .executeTakeFirst();
  return row ? BigInt(row.balance) : null;
}

/** What every contributor has, at the chain's tip; in one statement, so that both belong together. */
export async function rewards(db: Db): Promise<{ tip: Tip; rewards: Reward[] }> {
  const found = await sql<{ seq: number; hash: Hex; contributor: Hex | null; amount: string | null }>`
    SELECT t.seq, t.hash, r.contributor, r.amount
    FROM (SELECT seq, hash FROM transfers WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1) t
    LEFT JOIN rewards r ON r.amount <> ${'0'} ORDER BY r.contributor`.execute(db);
  const first = found.rows[0];
  if (!first) return { tip: firstTip, rewards: [] };
  return {
    tip: { seq: Number(first.seq), hash: first.hash },
    rewards: found.rows.flatMap(({ contributor, amount }) =>
      contributor === null || amount === null ? [] : [{ contributor, amount: BigInt(amount) }],
    ),
  };
}

/** What of a job's model is whose, in the order of addresses, after one of them; an outlaw has no share. */
export async function sharesOf(
  db: Db,
  job: Cid,
  { after = '', most }: { after?: string; most: number },
): Promise<Reward[]> {
  const rows = await db
    .selectFrom('shares')
    .innerJoin('contributors', 'contributors.address', 'shares.contributor')
    .select(['shares.contributor', 'shares.amount'])
    .where('shares.job', '=', job)
    .where('shares.contributor', '>', after as Hex)
    .where('contributors.outlawed_at', 'is', null)
    .where('shares.amount', '<>', '0')
    .orderBy('shares.contributor')
    .limit(most)
    .execute();
  return rows.map(({ contributor, amount }) => ({ contributor, amount: BigInt(amount) }));
}

/** What transfers change of what contributors have. */
export function rewardChanges(sealed: readonly SealedTransfer[]): Map<Hex, bigint> {
  const changes = new Map<Hex, bigint>();
  for (const [account, amount] of balanceChanges(sealed)) {
    const contributor = isCredit(account) ? holderOf(account) : null;
    if (contributor && amount !== 0n) changes.set(contributor, amount);
  }
  return changes;
}

async function addRewards(db: Db, sealed: readonly SealedTransfer[]): Promise<void> {
  for (const part of inParts([...rewardChanges(sealed)])) {
    const names = part.map(([contributor]) => contributor);
    const known = await db.selectFrom('rewards').selectAll().where('contributor', 'in', names).execute();
    const before = new Map(known.map(({ contributor, amount }) => [contributor, BigInt(amount)]));
    await db
      .insertInto('rewards')
      .values(
        part.map(([contributor, amount]) => ({
          contributor,
          amount: String(amount + (before.get(contributor) ?? 0n)),
        })),
      )
      .onConflict((on) =>
        on.column('contributor').doUpdateSet((row) => ({ amount: row.ref('excluded.amount') })),
      )
      .execute();
  }
}

async function addShares(db: Db, sealed: readonly SealedTransfer[]): Promise<void> {
  const byJob = Map.groupBy(shareChanges(sealed), ({ job }) => job);
  for (const [job, changes] of byJob) {
    for (const part of inParts(changes)) {
      const names = part.map(({ contributor }) => contributor);
      const known = await db
        .selectFrom('shares')
        .selectAll()
        .where('job', '=', job)
        .where('contributor', 'in', names)
        .execute();
      const before = new Map(known.map(({ contributor, amount }) => [contributor, BigInt(amount)]));
      const values = part.map(({ contributor, amount }) => ({
        ...{ job, contributor },
        amount: String(amount + (before.get(contributor) ?? 0n)),
      }));
      await db
        .insertInto('shares')
        .values(values)
        .onConflict((on) =>
          on.columns(['job', 'contributor']).doUpdateSet((row) => ({ amount: row.ref('excluded.amount') })),
        )
        .execute();
    }
  }
}

interface StoredTransfer {
  seq: number | null;
  kind: Transfer['kind'];
  debit: string;
  credit: string;
  amount: string;
  job: Cid | null;
  unit: Cid | null;
  assignment: Hex | null;
  reason: string;
  at: number;
}

function transferOf(row: StoredTransfer): Transfer {
  const { kind, debit, credit, job, unit, assignment, reason } = row;
  return {
    seq: Number(row.seq ?? 0),
    ...{ kind, debit, credit, amount: BigInt(row.amount), job, unit, assignment, reason },
    at: Number(row.at),
  };
}

/** A number among VALUES, whose columns PostgreSQL takes for text otherwise. */
function whole(value: number): RawBuilder<number> {
  return sql`CAST(${value} AS BIGINT)`;
}

function* inParts<T>(rows: readonly T[]): Generator<T[]> {
  for (let at = 0; at < rows.length; at += rowsMax) yield rows.slice(at, at + rowsMax);
}
