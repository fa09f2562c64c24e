/**
 * Transfers on their way from the journal into their table, with their place in the chain where the sealer has got to them by then: each is
 * written once, and not read and written again as `sql/ledger.ts` has to. The two leave the same rows; a test holds them to it.
 */
import { firstTip, sealTransfers, shareChanges, type Tip } from '../../ledger/chain.ts';
import type { NewTransfer } from '../../record/rows.ts';
import { rewardChanges } from '../sql/ledger.ts';
import type { Statements } from './statements.ts';

/** With its place in the table, given when its batch ends. */
export type PlacedTransfer = NewTransfer & { id: number; at: number };

/** Not yet sealed. One that is there stays as it is. */
export function insertTransfer(sql: Statements, transfer: PlacedTransfer): void {
  const { id, kind, debit, credit, amount, job, unit, assignment, reason, at } = transfer;
  sql.run(insert, id, kind, debit, credit, String(amount), job, unit, assignment, reason, at, null, null);
}

/** In the order of their ids, when nothing older waits to be sealed. */
export function insertSealed(sql: Statements, transfers: readonly PlacedTransfer[]): void {
  const tip = sql.get<Tip>(selectTip) ?? firstTip;
  const sealed = sealTransfers(
    tip,
    transfers.map((transfer, i) => ({ ...transfer, seq: tip.seq + 1 + i })),
  );
  sealed.forEach(({ kind, debit, credit, amount, job, unit, assignment, reason, at, seq, hash }, i) => {
    const { id } = transfers[i] as PlacedTransfer;
    sql.run(insert, id, kind, debit, credit, String(amount), job, unit, assignment, reason, at, seq, hash);
  });
  for (const [contributor, amount] of rewardChanges(sealed)) {
    const before = sql.get<Sum>(selectReward, contributor)?.amount ?? '0';
    sql.run(putReward, contributor, String(BigInt(before) + amount));
  }
  for (const { job, contributor, amount } of shareChanges(sealed)) {
    const before = sql.get<Sum>(selectShare, job, contributor)?.amount ?? '0';
    sql.run(putShare, job, contributor, String(BigInt(before) + amount));
  }
}

interface Sum {
  amount: string;
}

const insert =
  'INSERT INTO transfers (id, kind, debit, credit, amount, job, unit, assignment, reason, at, seq, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING';
const selectTip = 'SELECT seq, hash FROM transfers WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1';
const selectReward = 'SELECT amount FROM rewards WHERE contributor = ?';
const putReward =
  'INSERT INTO rewards (contributor, amount) VALUES (?, ?) ON CONFLICT (contributor) DO UPDATE SET amount = excluded.amount';
const selectShare = 'SELECT amount FROM shares WHERE job = ? AND contributor = ?';
const putShare =
  'INSERT INTO shares (job, contributor, amount) VALUES (?, ?, ?) ON CONFLICT (job, contributor) DO UPDATE SET amount = excluded.amount';
