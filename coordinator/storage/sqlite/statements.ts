/** Prepared statements by their text, each prepared once. */
import type BetterSqlite3 from 'better-sqlite3';

export type Bindable = string | number | bigint | Uint8Array | null;

export class Statements {
  readonly db: BetterSqlite3.Database;
  readonly #prepared = new Map<string, BetterSqlite3.Statement>();

  constructor(db: BetterSqlite3.Database) {
    this.db = db;
  }

  run(sql: string, ...values: Bindable[]): number {
    return this.#prepare(sql).run(...values).changes;
  }

  /** Rows come as the schema types them; who asks names the type. */
  get<Row>(sql: string, ...values: Bindable[]): Row | undefined {
    return this.#prepare(sql).get(...values) as Row | undefined;
  }

  all<Row>(sql: string, ...values: Bindable[]): Row[] {
    return this.#prepare(sql).all(...values) as Row[];
  }

  #prepare(sql: string): BetterSqlite3.Statement {
    let statement = this.#prepared.get(sql);
    if (!statement) this.#prepared.set(sql, (statement = this.db.prepare(sql)));
    return statement;
  }
}
