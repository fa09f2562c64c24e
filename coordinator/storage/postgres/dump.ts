/**
 * The rows of a PostgreSQL database as files, one line of JSON a row, and back into an empty one. All tables are read in one snapshot; the tables
 * themselves are made by the migrations, so a dump outlives a change of PostgreSQL's version.
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import { sql } from 'kysely';
import { AtollError } from '#protocol/errors.ts';
import { migrateToLatest } from '../sql/migrations.ts';
import { chunks, databaseFailed, type Trx } from '../sql/ports.ts';
import type { Database, Db } from '../sql/schema.ts';
import { kyselyOn } from './kysely.ts';

type Row = Record<string, unknown>;

const fetchRows = 1_000;
/** Hints and presences: of the moment, and made anew. */
const passing = new Set(['bus', 'presences']);

/** Throws `storage_failed`. */
export async function dumpRows(url: string, folder: string, signal?: AbortSignal): Promise<void> {
  await using(url, async (db) => {
    await mkdir(folder, { recursive: true });
    const tables = await db.introspection.getTables();
    const names = tables.map((table) => table.name).filter((name) => !passing.has(name));
    await db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (trx) => {
        for (const name of names) await dumpTable(trx, name, join(folder, `${name}.jsonl`), signal);
      });
  });
}

async function dumpTable(trx: Trx, name: string, path: string, signal?: AbortSignal): Promise<void> {
  const file = createWriteStream(path, { flush: true });
  await sql`DECLARE dumped CURSOR FOR SELECT * FROM ${sql.table(name)}`.execute(trx);
  for (;;) {
    signal?.throwIfAborted();
    const { rows } = await sql<Row>`FETCH ${sql.raw(String(fetchRows))} FROM dumped`.execute(trx);
    if (rows.length === 0) break;
    const text = rows.map((row) => `${JSON.stringify(row, encoded)}\n`).join('');
    if (!file.write(text)) await once(file, 'drain');
  }
  await sql`CLOSE dumped`.execute(trx);
  file.end();
  await finished(file);
}

/** Throws `bad_config` when the database is in use, `storage_failed` when it fails; it is empty then. */
export async function loadRows(url: string, folder: string, signal?: AbortSignal): Promise<void> {
  await using(url, async (db) => {
    await migrateToLatest(db, 'postgres');
    await db.transaction().execute(async (trx) => {
      const used = await trx.selectFrom('meta').select('key').limit(1).execute();
      if (used.length > 0) {
        throw new AtollError('bad_config', 'The database of DATABASE_URL is in use. Name an empty one.');
      }
      for (const name of await readdir(folder)) {
        if (name.endsWith('.jsonl')) await loadTable(trx, join(folder, name), signal);
      }
      await sql`SELECT setval('transfers_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM transfers), false)`.execute(
        trx,
      );
    });
  });
}

async function loadTable(trx: Trx, path: string, signal?: AbortSignal): Promise<void> {
  const name = basename(path, '.jsonl') as keyof Database;
  let batch: Row[] = [];
  const insert = async () => {
    for (const piece of chunks(batch, Object.keys(batch[0] ?? {}).length)) {
      await trx
        .insertInto(name)
        .values(piece as never)
        .execute();
    }
    batch = [];
  };
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    signal?.throwIfAborted();
    batch.push(decoded(JSON.parse(line) as Row));
    if (batch.length === fetchRows) await insert();
  }
  if (batch.length > 0) await insert();
}

/** Bytes as base64: a Buffer has been turned into an object of its own by the time that a replacer sees it. */
function encoded(_key: string, value: unknown): unknown {
  const bytes = value as { type?: unknown; data?: unknown } | null;
  if (typeof bytes !== 'object' || bytes?.type !== 'Buffer') return value;
  return { base64: Buffer.from(bytes.data as number[]).toString('base64') };
}

function decoded(row: Row): Row {
  for (const [key, value] of Object.entries(row)) {
    const bytes = value as { base64?: string } | null;
    if (typeof bytes === 'object' && bytes !== null) row[key] = Buffer.from(bytes.base64 as string, 'base64');
  }
  return row;
}

async function using<T>(url: string, work: (db: Db) => Promise<T>): Promise<T> {
  const db = kyselyOn(url);
  try {
    return await work(db);
  } catch (cause) {
    throw cause instanceof AtollError ? cause : databaseFailed(cause);
  } finally {
    await db.destroy();
  }
}
