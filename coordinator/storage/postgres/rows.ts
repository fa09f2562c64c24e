/**
 * Rows of the record on their way to PostgreSQL and back, by the table descriptors: whole columns as array literals, so that one statement
 * writes any number of rows and is prepared once; results as arrays of fields in the order of the descriptor.
 */
import type { Rows, TableName } from '../../record/rows.ts';
import { type Column, fromStored, type Kind, type Table, tables } from '../../record/tables.ts';

const sqlTypes: Record<Kind, string> = {
  text: 'text',
  integer: 'bigint',
  real: 'double precision',
  boolean: 'bigint',
  bigint: 'numeric',
  bytes: 'bytea',
};

/** One column of many rows, as the literal of a PostgreSQL array. */
export function arrayLiteral(values: readonly unknown[], kind: Kind): string {
  return `{${values.map((value) => elementOf(value, kind)).join()}}`;
}

export const textArray = (values: Iterable<string>): string => arrayLiteral([...values], 'text');

function elementOf(value: unknown, kind: Kind): string {
  if (value === null || value === undefined) return 'NULL';
  if (kind === 'text') return quoted(value as string);
  if (kind === 'boolean') return value ? '1' : '0';
  if (kind !== 'bytes') return String(value);
  const { buffer, byteOffset, byteLength } = value as Uint8Array;
  return `"\\\\x${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}"`;
}

const special = /["\\]/;

function quoted(text: string): string {
  return `"${special.test(text) ? text.replace(/["\\]/g, '\\$&') : text}"`;
}

/** `a, b, c` of a table, for SELECT lists whose results `decoder` reads. */
export function columnList({ columns }: Table, alias = ''): string {
  return columns.map(({ column }) => (alias ? `${alias}.${column}` : column)).join(', ');
}

/** A result row in the order of the descriptor -> the row. */
export function decoder<T extends TableName>(name: T): (fields: readonly unknown[]) => Rows[T] {
  const { columns } = tables[name];
  return (fields) => {
    const row: Record<string, unknown> = {};
    for (let i = 0; i < columns.length; i++) {
      const { field, kind } = columns[i] as Column;
      row[field] = fromStored(fields[i], kind);
    }
    return row as unknown as Rows[T];
  };
}

const unnestOf = (columns: readonly Column[]): string =>
  columns.map(({ kind }, i) => `$${i + 1}::${sqlTypes[kind]}[]`).join(', ');
const namesOf = (columns: readonly Column[]): string => columns.map(({ column }) => column).join(', ');
const valuesOf = (columns: readonly Column[], rows: readonly object[]): string[] =>
  columns.map(({ field, kind }) =>
    arrayLiteral(
      rows.map((row) => (row as Record<string, unknown>)[field]),
      kind,
    ),
  );

export interface Statement {
  name: string;
  text: string;
  values: unknown[];
}

/** One statement that inserts rows; it fails when one is there already. */
export function insertRows(
  { name, columns }: Pick<Table, 'name' | 'columns'>,
  rows: readonly object[],
): Statement {
  const names = namesOf(columns);
  return {
    name: `insert ${name}`,
    text: `INSERT INTO ${name} (${names}) SELECT * FROM unnest(${unnestOf(columns)})`,
    values: valuesOf(columns, rows),
  };
}

/**
 * One statement that updates what may change of rows that are there. With `versions`, the transactions that wrote them, it fails with a division
 * by zero unless all rows are as those have left them.
 */
export function updateRows(
  { name, key, changing }: Table,
  rows: readonly object[],
  versions?: readonly string[],
): Statement {
  const columns = [...key, ...changing];
  const set = changing.map(({ column }) => `${column} = v.${column}`).join(', ');
  const same = key.map(({ column }) => `t.${column} = v.${column}`).join(' AND ');
  const values = valuesOf(columns, rows);
  if (!versions) {
    return {
      name: `update ${name}`,
      text: `UPDATE ${name} t SET ${set} FROM unnest(${unnestOf(columns)}) v(${namesOf(columns)}) WHERE ${same}`,
      values,
    };
  }
  const at = columns.length;
  return {
    name: `update ${name} known`,
    text: `WITH done AS (UPDATE ${name} t SET ${set} FROM unnest(${unnestOf(columns)}, $${at + 1}::xid[]) v(${namesOf(columns)}, version)
      WHERE ${same} AND t.xmin = v.version RETURNING 1) SELECT 1 / (count(*) = $${at + 2}::bigint)::int FROM done`,
    values: [...values, arrayLiteral(versions, 'integer'), rows.length],
  };
}
