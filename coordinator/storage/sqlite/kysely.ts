/** Kysely on the connection that the engine writes by. Statements are prepared once; transactions are the caller's business (see `gate.ts`). */
import type BetterSqlite3 from 'better-sqlite3';
import { type DialectAdapter, Kysely, SqliteAdapter, SqliteDialect } from 'kysely';
import type { Database, Db } from '../sql/schema.ts';

const statementsMax = 256;

/** Kysely says no for old versions' sake; SQLite has always had it. */
class Adapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

class Dialect extends SqliteDialect {
  override createAdapter(): DialectAdapter {
    return new Adapter();
  }
}

/** Closing it leaves the connection open. `before`: called with the text of each statement before it runs. */
export function kyselyOn(db: BetterSqlite3.Database, before: (text: string) => void = () => undefined): Db {
  const prepared = new Map<string, BetterSqlite3.Statement>();
  const prepare = (text: string) => {
    before(text);
    const known = prepared.get(text);
    if (known) return known;
    if (prepared.size >= statementsMax) prepared.clear();
    const statement = db.prepare(text);
    prepared.set(text, statement);
    return statement;
  };
  // A statement runs to its end before the next turn, so none is in use when it is asked for again.
  return new Kysely<Database>({ dialect: new Dialect({ database: { prepare, close: () => undefined } }) });
}
