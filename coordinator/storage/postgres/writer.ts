/**
 * Writes what the operations of a batch have made of its rows: one statement for each table and kind of change, all sent at once with COMMIT
 * behind them. Balances are written as changes, so that an account that nobody reads (`issued`) is locked for the end of a transaction only.
 */
import type pg from 'pg';
import type { NewTransfer, TableName } from '../../record/rows.ts';
import { describeTable, type Kinds, tables, transferKinds } from '../../record/tables.ts';
import type { Batch } from './batch.ts';
import { arrayLiteral, insertRows, type Statement, textArray, updateRows } from './rows.ts';

const transfers = describeTable<NewTransfer & { at: number }>(
  'transfers',
  transferKinds as Kinds<NewTransfer & { at: number }>,
  [],
);

const attach =
  'INSERT INTO outputs (unit, cid) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING';
const publish =
  'INSERT INTO blocks (cid) SELECT DISTINCT cid FROM outputs WHERE unit = ANY($1::text[]) ORDER BY cid ON CONFLICT DO NOTHING';
const balances = `INSERT INTO accounts AS a (id, balance) SELECT * FROM unnest($1::text[], $2::numeric[])
  ON CONFLICT (id) DO UPDATE SET balance = a.balance + excluded.balance`;

/** Everything but COMMIT, in the order in which locks are taken. */
export function statementsOf(batch: Batch, now: number): Statement[] {
  const statements: Statement[] = [];
  const changes: [TableName, { added: object[]; changed: object[] }][] = [
    ['units', batch.units.changes()],
    ['replicas', batch.replicaRows.changes()],
    ['contributors', batch.contributors.changes()],
    ['devices', batch.devices.changes()],
  ];
  for (const [name, { added, changed }] of changes) {
    if (added.length > 0) statements.push(insertRows(tables[name], added));
    if (changed.length > 0) statements.push(updateRows(tables[name], changed));
  }
  if (batch.transfers.length > 0) {
    const rows = batch.transfers.map((transfer) => ({ ...transfer, at: now }));
    statements.push(insertRows(transfers, rows));
  }
  if (batch.attached.length > 0) {
    const values = [
      textArray(batch.attached.map(({ unit }) => unit)),
      textArray(batch.attached.map(({ cid }) => cid)),
    ];
    statements.push({ name: 'attach', text: attach, values });
  }
  if (batch.published.length > 0) {
    statements.push({ name: 'publish', text: publish, values: [textArray(batch.published)] });
  }
  const moved = batch.balanceChanges;
  if (moved.length > 0) {
    const ids = textArray(moved.map(({ id }) => id));
    const amounts = arrayLiteral(
      moved.map(({ change }) => change),
      'bigint',
    );
    statements.push({ name: 'balances', text: balances, values: [ids, amounts] });
  }
  return statements;
}

/** Sends the statements and COMMIT in one go; resolves when the server has made them durable. */
export async function commit(client: pg.Client, statements: readonly Statement[]): Promise<void> {
  const written = statements.map((statement) => client.query(statement));
  const committed = client.query('COMMIT');
  // The first failure is the one that says why; all answers are awaited, so that the connection is at rest afterwards.
  const outcomes = await Promise.allSettled([...written, committed]);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
  const { command } = await committed;
  // What PostgreSQL answers to a COMMIT of a transaction that has failed already.
  if (command !== 'COMMIT') throw new Error('The transaction was rolled back.');
}
