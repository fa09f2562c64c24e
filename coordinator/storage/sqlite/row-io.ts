/**
 * Rows of the record read from and written to SQLite by prepared statements, made from the descriptors in `record/tables.ts`.
 *
 * An update names only the columns that differ, so an index is touched only when what it is over has changed.
 */
import type BetterSqlite3 from 'better-sqlite3';
import type { Rows, TableName } from '../../record/rows.ts';
import { type Column, fromStored, type Stored, tables, toStored } from '../../record/tables.ts';
import type { Statements } from './statements.ts';

export class RowIo<T extends TableName> {
  readonly #sql: Statements;
  readonly #name: T;
  readonly #columns: readonly Column[];
  readonly #key: readonly Column[];
  readonly #changing: readonly Column[];
  /** Columns that SQLite gives in another form than the row has. */
  readonly #converted: readonly Column[];
  readonly #select: string;
  readonly #insert: string;
  readonly #updates = new Map<number, BetterSqlite3.Statement>();

  constructor(sql: Statements, name: T) {
    const { columns, key, changing } = tables[name];
    this.#sql = sql;
    this.#name = name;
    this.#columns = columns;
    this.#key = key;
    this.#changing = changing;
    this.#converted = columns.filter(({ kind }) => ['boolean', 'bigint', 'bytes'].includes(kind));
    const named = columns.map(({ field, column }) => `${column} AS "${field}"`).join(', ');
    this.#select = `SELECT ${named} FROM ${name}`;
    const places = columns.map(() => '?').join(', ');
    this.#insert = `INSERT INTO ${name} (${columns.map(({ column }) => column).join(', ')}) VALUES (${places})`;
  }

  get(...key: readonly string[]): Rows[T] | null {
    const where = this.#key.map(({ column }) => `${column} = ?`).join(' AND ');
    const found = this.#sql.get<Record<string, unknown>>(`${this.#select} WHERE ${where}`, ...key);
    return found ? this.#rowOf(found) : null;
  }

  /** `tail`: what follows the SELECT, with its values. */
  all(tail: string, ...values: readonly Stored[]): Rows[T][] {
    return this.#sql
      .all<Record<string, unknown>>(`${this.#select} ${tail}`, ...values)
      .map((found) => this.#rowOf(found));
  }

  /** Makes the table hold `row`, where it held `base`. */
  write(row: Rows[T], base: Rows[T] | null): void {
    if (base === null) this.#sql.run(this.#insert, ...storedOf(row, this.#columns));
    else this.#update(row, base);
  }

  #update(row: Rows[T], base: Rows[T]): void {
    const now = row as unknown as Record<string, unknown>;
    const before = base as unknown as Record<string, unknown>;
    let mask = 0;
    const values: Stored[] = [];
    for (let i = 0; i < this.#changing.length; i++) {
      const { field, kind } = this.#changing[i] as Column;
      if (now[field] === before[field]) continue;
      mask += 2 ** i;
      values.push(toStored(now[field], kind));
    }
    if (mask === 0) return;
    for (const { field, kind } of this.#key) values.push(toStored(now[field], kind));
    this.#updateOf(mask).run(...values);
  }

  /** The statement that sets these of the changing columns: there are few sets that ever occur. */
  #updateOf(mask: number): BetterSqlite3.Statement {
    const known = this.#updates.get(mask);
    if (known) return known;
    const changed = this.#changing.filter((_, i) => Math.floor(mask / 2 ** i) % 2 === 1);
    const set = changed.map(({ column }) => `${column} = ?`).join(', ');
    const where = this.#key.map(({ column }) => `${column} = ?`).join(' AND ');
    const made = this.#sql.db.prepare(`UPDATE ${this.#name} SET ${set} WHERE ${where}`);
    this.#updates.set(mask, made);
    return made;
  }

  #rowOf(found: Record<string, unknown>): Rows[T] {
    for (const { field, kind } of this.#converted) found[field] = fromStored(found[field], kind);
    return found as unknown as Rows[T];
  }
}

function storedOf(row: object, columns: readonly Column[]): Stored[] {
  const fields = row as Record<string, unknown>;
  return columns.map(({ field, kind }) => toStored(fields[field], kind));
}
