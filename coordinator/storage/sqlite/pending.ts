/**
 * What a batch has changed, on its way to disk in two steps: into the journal with the batch, as one row of text; into the tables later, once for
 * all that has happened to a row meanwhile.
 *
 * A replica is leased, committed, revealed and settled within moments, and each of these steps touches half a dozen pages of tables and indexes.
 * A journal of the changes is as durable and costs a tenth. Changes are whole values of columns by name, so taking them in twice does no harm.
 */
import type { Rows, TableName } from '../../record/rows.ts';
import { tables } from '../../record/tables.ts';
import type { RowIo } from './row-io.ts';

/** Columns by field; bytes as base64, bigints as decimals. */
export type Fields = Record<string, string | number | boolean | null>;

/** One entry of the journal. */
export type Change = readonly [table: TableName, fields: Fields];

export class PendingRows<T extends TableName> {
  readonly #name: T;
  readonly #io: RowIo<T>;
  readonly #current: (key: string) => Rows[T] | null;
  /** What each row was before the batch; null for none. */
  readonly #put = new Map<string, Rows[T] | null>();
  /** What the table holds of each row that the journal has; null for none. */
  readonly #journaled = new Map<string, Rows[T] | null>();

  /** `current`: the row as the operations have left it. */
  constructor(name: T, io: RowIo<T>, current: (key: string) => Rows[T] | null) {
    this.#name = name;
    this.#io = io;
    this.#current = current;
  }

  get size(): number {
    return this.#put.size + this.#journaled.size;
  }

  /** A row is about to be put; `old` is what there is. */
  note(key: string, old: Rows[T] | null): void {
    if (!this.#put.has(key)) this.#put.set(key, old);
  }

  /** Adds what has been put since the last time to `changes`. */
  collect(changes: { push(change: Change): unknown }): void {
    for (const [key, before] of this.#put) {
      const row = this.#current(key);
      if (row === null || row === before) continue;
      changes.push([this.#name, differenceOf(this.#name, row, before)]);
      if (!this.#journaled.has(key)) this.#journaled.set(key, before);
    }
    this.#put.clear();
  }

  /** Brings the table up to date. */
  write(): void {
    for (const [key, base] of this.#journaled) this.#io.write(this.#current(key) as Rows[T], base);
    this.#journaled.clear();
  }

  clear(): void {
    this.#put.clear();
    this.#journaled.clear();
  }
}

/** The same for what is only ever added: entries, in their order. */
export class PendingList<E> {
  #put: E[] = [];
  #journaled: E[] = [];

  get size(): number {
    return this.#put.length + this.#journaled.length;
  }

  push(entry: E): void {
    this.#put.push(entry);
  }

  /** Takes the last one back. */
  pop(): void {
    this.#put.pop();
  }

  /** What has been added since the last time. */
  collect(): readonly E[] {
    const put = this.#put;
    if (put.length === 0) return put;
    for (const entry of put) this.#journaled.push(entry);
    this.#put = [];
    return put;
  }

  /** The oldest, up to so many, to be written by the caller. */
  take(most: number): E[] {
    return this.#journaled.splice(0, most);
  }

  write(one: (entry: E) => void): void {
    for (const entry of this.#journaled) one(entry);
    this.#journaled = [];
  }

  clear(): void {
    this.#put = [];
    this.#journaled = [];
  }
}

/** The key of a row and the columns in which it is another than `before`: all of them for a row that is new. */
function differenceOf<T extends TableName>(name: T, row: Rows[T], before: Rows[T] | null): Fields {
  const { columns, key, changing } = tables[name];
  const now = row as unknown as Readonly<Record<string, unknown>>;
  const old = before as unknown as Readonly<Record<string, unknown>> | null;
  const fields: Fields = {};
  if (old === null) {
    for (const column of columns) fields[column.field] = plain(now[column.field]);
    return fields;
  }
  for (const column of key) fields[column.field] = plain(now[column.field]);
  for (const column of changing) {
    const value = now[column.field];
    if (value !== old[column.field]) fields[column.field] = plain(value);
  }
  return fields;
}

function plain(value: unknown): string | number | boolean | null {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (value === null || value === undefined) return null;
  if (typeof value === 'bigint') return String(value);
  const { buffer, byteOffset, byteLength } = value as Uint8Array;
  return Buffer.from(buffer, byteOffset, byteLength).toString('base64');
}

/** The fields of a row as `Fields` has them -> as rows have them. */
export function fieldsOf(name: TableName, fields: Fields): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const { field, kind } of tables[name].columns) {
    const value = fields[field];
    if (value === undefined) continue;
    if (value === null || (kind !== 'bytes' && kind !== 'bigint')) found[field] = value;
    else found[field] = kind === 'bigint' ? BigInt(value) : bytesOf(String(value));
  }
  return found;
}

function bytesOf(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}
