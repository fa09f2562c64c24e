/**
 * Sealing on PostgreSQL: what `seal` of sql/ledger.ts does, with one statement for each table, whatever the number of rows. Sums are added to
 * where they are: there is one sealer at a time (the caller holds the lock).
 */
import { sql } from 'kysely';
import { shareChanges } from '../../ledger/chain.ts';
import { chained, rewardChanges } from '../sql/ledger.ts';
import type { Trx } from '../sql/ports.ts';
import { arrayLiteral, textArray } from './rows.ts';

/** Chains up to `most` transfers; resolves with how many there were. */
export async function sealAll(trx: Trx, most: number): Promise<number> {
  const sealed = await chained(trx, most);
  if (sealed.length === 0) return 0;
  const [ids, seqs] = [sealed.map(({ id }) => id), sealed.map(({ seq }) => seq)];
  // By a look at the index for each: a plan for all at once may read the whole table.
  await sql`SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true)`.execute(trx);
  await sql`UPDATE transfers t SET seq = v.seq, hash = v.hash
    FROM unnest(${arrayLiteral(ids, 'integer')}::bigint[], ${arrayLiteral(seqs, 'integer')}::bigint[],
      ${textArray(sealed.map(({ hash }) => hash))}::text[]) v(id, seq, hash) WHERE t.id = v.id`.execute(trx);
  const rewards = [...rewardChanges(sealed)];
  if (rewards.length > 0) {
    const [who, amounts] = [rewards.map(([contributor]) => contributor), rewards.map(([, amount]) => amount)];
    await sql`INSERT INTO rewards AS r (contributor, amount)
      SELECT * FROM unnest(${textArray(who)}::text[], ${arrayLiteral(amounts, 'bigint')}::numeric[])
      ON CONFLICT (contributor) DO UPDATE SET amount = r.amount + excluded.amount`.execute(trx);
  }
  const shares = shareChanges(sealed);
  if (shares.length > 0) {
    const [jobs, who] = [shares.map(({ job }) => job), shares.map(({ contributor }) => contributor)];
    const amounts = arrayLiteral(
      shares.map(({ amount }) => amount),
      'bigint',
    );
    await sql`INSERT INTO shares AS s (job, contributor, amount)
      SELECT * FROM unnest(${textArray(jobs)}::text[], ${textArray(who)}::text[], ${amounts}::numeric[])
      ON CONFLICT (job, contributor) DO UPDATE SET amount = s.amount + excluded.amount`.execute(trx);
  }
  return sealed.length;
}
