/**
 * Who is online over all processes: each writes its own figures into an UNLOGGED table with every look at the network, and adds up those of all that
 * have written lately. A process that died is forgotten after a while.
 */
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { RecordRules } from '../../record/rules.ts';
import { rowOf, tables } from '../../record/tables.ts';
import type { Climate } from '../../record/view.ts';
import type { Presence } from '../port.ts';
import type { Db } from '../sql/schema.ts';
import { presenceOf } from '../sql/survey.ts';
import { deviceKey } from './batch.ts';
import { waitLock } from './locks.ts';
import { columnList, textArray } from './rows.ts';
import type { Slice } from './work-window.ts';

interface Sums {
  /** Processes with contributors. */
  busy: string[] | null;
  online: string;
  proven: string;
  referees: string;
  prefixes: string;
}
type Online = Omit<Climate, 'judged' | 'liars'>;

const forgottenMs = 20_000;
/** Distinct prefixes that one process names; what matters is whether there are a few. */
const prefixesMax = 64;

export class Presences {
  readonly #db: Db;
  readonly #rules: RecordRules;
  readonly #process = randomBytes(8).toString('hex');
  #slice: Slice = { index: 0, count: 1 };

  private constructor(db: Db, rules: RecordRules) {
    this.#db = db;
    this.#rules = rules;
  }

  static async open(db: Db, rules: RecordRules): Promise<Presences> {
    // Two that create it at once would meet in the catalogue.
    await db.transaction().execute(async (trx) => {
      await waitLock(trx, 'presences');
      await sql`CREATE UNLOGGED TABLE IF NOT EXISTS presences (
        process text PRIMARY KEY,
        online bigint NOT NULL,
        proven bigint NOT NULL,
        referees bigint NOT NULL,
        prefixes text[] NOT NULL,
        at timestamptz NOT NULL
      )`.execute(trx);
    });
    return new Presences(db, rules);
  }

  /** This process's part of the work: an equal one for each that has contributors. */
  get slice(): Slice {
    return this.#slice;
  }

  /** Notes who is connected to this process; resolves with the figures of all. */
  async note(online: readonly Presence[]): Promise<Online> {
    const here = presenceOf(online, await this.#known(online), this.#rules);
    const prefixes = [...new Set(online.map(({ prefix }) => prefix))].filter((prefix) => prefix !== '');
    const named = textArray(prefixes.slice(0, prefixesMax));
    await sql`INSERT INTO presences (process, online, proven, referees, prefixes, at)
      VALUES (${this.#process}, ${here.online}, ${here.provenOnline}, ${here.refereesOnline}, ${named}::text[], clock_timestamp())
      ON CONFLICT (process) DO UPDATE SET online = excluded.online, proven = excluded.proven, referees = excluded.referees,
        prefixes = excluded.prefixes, at = excluded.at`.execute(this.#db);
    return this.#sum();
  }

  /** Says goodbye, so that nobody counts on who was here. */
  async close(): Promise<void> {
    await sql`DELETE FROM presences WHERE process = ${this.#process}
      OR at < clock_timestamp() - interval '1 hour'`
      .execute(this.#db)
      .catch(() => undefined);
  }

  async #sum(): Promise<Online> {
    const { rows } = await sql<Sums>`
      SELECT array_agg(process ORDER BY process) FILTER (WHERE online > 0) AS busy, coalesce(sum(online), 0) AS online, coalesce(sum(proven), 0) AS proven, coalesce(sum(referees), 0) AS referees,
        (SELECT count(DISTINCT prefix) FROM presences q, unnest(q.prefixes) prefix WHERE q.at > clock_timestamp() - ${forgotten}) AS prefixes
      FROM presences p WHERE p.at > clock_timestamp() - ${forgotten}`.execute(this.#db);
    const sums = rows[0];
    const busy = sums?.busy ?? [];
    const index = busy.indexOf(this.#process);
    this.#slice = index < 0 ? { index: 0, count: 1 } : { index, count: busy.length };
    return {
      online: Number(sums?.online ?? 0),
      provenOnline: Number(sums?.proven ?? 0),
      refereesOnline: Number(sums?.referees ?? 0),
      prefixesOnline: Number(sums?.prefixes ?? 0),
    };
  }

  async #known(online: readonly Presence[]) {
    const addresses = textArray(new Set(online.map(({ contributor }) => contributor)));
    const load = async (name: 'contributors' | 'devices', key: string) => {
      const columns = sql.raw(columnList(tables[name]));
      const query = sql<Record<string, unknown>>`
        SELECT ${columns} FROM ${sql.table(name)} WHERE ${sql.ref(key)} = ANY(${addresses}::text[])`;
      return (await query.execute(this.#db)).rows;
    };
    const contributors = (await load('contributors', 'address')).map((row) => rowOf('contributors', row));
    const devices = (await load('devices', 'contributor')).map((row) => rowOf('devices', row));
    const byAddress = new Map(contributors.map((row) => [row.address, row]));
    const byDevice = new Map(devices.map((row) => [deviceKey(row.contributor, row.device), row]));
    return {
      contributor: (address: `0x${string}`) => byAddress.get(address) ?? null,
      device: (contributor: `0x${string}`, device: string) =>
        byDevice.get(deviceKey(contributor, device)) ?? null,
    };
  }
}

const forgotten = sql.raw(`interval '${forgottenMs} milliseconds'`);
