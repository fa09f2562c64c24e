/**
 * Writes what the operations of a batch have made of its rows: one statement for each table and kind of change, all sent at once with COMMIT
 * behind them. Balances are written as changes, so that an account that nobody reads (`issued`) is locked for the end of a transaction only.
 */
import type pg from 'pg';
import type { Hex } from 'viem';
import type { NewTransfer, TableName, UnitRow } from '../../record/rows.ts';
import { describeTable, type Kinds, tables, transferKinds } from '../../record/tables.ts';
import type { Batch, Keys } from './batch.ts';
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

/** One row, or a division by zero: whether all rows with these keys were written by these transactions. They are locked. */
const unitsAre = `SELECT 1 / (count(*) = $3::bigint)::int FROM (SELECT 1 FROM unnest($1::text[], $2::xid[]) v(known, version)
  JOIN units t ON t.cid = known AND t.xmin = version FOR NO KEY UPDATE OF t) same`;
const contributorsAre = `SELECT 1 / (count(*) = $3::bigint)::int FROM (SELECT 1 FROM unnest($1::text[], $2::xid[]) v(known, version)
  JOIN contributors t ON t.address = known AND t.xmin = version FOR NO KEY UPDATE OF t) same`;
const devicesAre = `SELECT 1 / (count(*) = $5::bigint AND count(v.x) = $5::bigint)::int
  FROM unnest($1::text[]) a JOIN devices t ON t.contributor = a
  LEFT JOIN unnest($2::text[], $3::text[], $4::xid[]) v(c, d, x) ON v.c = t.contributor AND v.d = t.device AND v.x = t.xmin`;
const accountsAreNot = 'SELECT 1 / (count(*) = 0)::int FROM accounts WHERE id = ANY($1::text[])';

/**
 * What fails with a division by zero unless the rows that the batch goes by are as it took them to be; the units that it writes are compared as they
 * are written. Null when it goes by something that this cannot tell.
 */
export function checksOf(batch: Batch, needs: Keys): Statement[] | null {
  const { units, contributors } = batch.versions;
  const read = [...needs.units].filter((cid) => !batch.units.dirty.has(cid)).sort();
  const people = [...needs.contributors].sort();
  const isThere = (version: string | undefined) => version !== undefined && version !== '';
  if (![...needs.units].every((cid) => isThere(units.get(cid)))) return null;
  if (!people.every((address) => isThere(contributors.get(address)))) return null;
  if (needs.open.size > 0 || [...needs.accounts].some((id) => batch.balanceOf(id) !== null)) return null;
  const statements: Statement[] = [];
  if (read.length > 0) {
    const versions = read.map((cid) => units.get(cid) as string);
    statements.push({
      name: 'units are',
      text: unitsAre,
      values: [textArray(read), textArray(versions), read.length],
    });
  }
  if (people.length > 0) {
    const versions = people.map((address) => contributors.get(address) as string);
    const values = [textArray(people), textArray(versions), people.length];
    statements.push({ name: 'contributors are', text: contributorsAre, values });
    statements.push(devicesOf(batch, people));
  }
  if (needs.accounts.size > 0) {
    statements.push({ name: 'accounts are not', text: accountsAreNot, values: [textArray(needs.accounts)] });
  }
  return statements;
}

/** As they were loaded: none of them is newer, and there is no other. */
function devicesOf(batch: Batch, people: readonly Hex[]): Statement {
  const known = people.flatMap((address) =>
    [...batch.devicesOf(address)].map(([device, version]) => [address, device, version] as const),
  );
  const stored = known.filter(([, , version]) => version !== '');
  const column = (i: 0 | 1 | 2) => textArray(stored.map((each) => each[i]));
  const values = [textArray(people), column(0), column(1), column(2), stored.length];
  return { name: 'devices are', text: devicesAre, values };
}

/** Everything but COMMIT, in the order in which locks are taken. `compared`: units fail that are not as they were when they were loaded. */
export function statementsOf(batch: Batch, now: number, compared = false): Statement[] {
  const statements: Statement[] = [];
  const changes: [TableName, { added: object[]; changed: object[] }][] = [
    ['units', batch.units.changes()],
    ['replicas', batch.replicaRows.changes()],
    ['contributors', batch.contributors.changes()],
    ['devices', batch.devices.changes()],
  ];
  for (const [name, { added, changed }] of changes) {
    if (added.length > 0) statements.push(insertRows(tables[name], added));
    if (changed.length === 0) continue;
    const versions = compared && name === 'units' ? versionsOf(batch, changed as UnitRow[]) : undefined;
    statements.push(updateRows(tables[name], changed, versions));
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

function versionsOf(batch: Batch, units: readonly UnitRow[]): string[] {
  return units.map(({ cid }) => batch.versions.units.get(cid) as string);
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
