/**
 * Units as the service reads them, many at a time: what is asked for within a moment goes to the database as one look. A unit that has just been
 * agreed is read once by whoever fetches its outputs, so under load that is a few thousand a second.
 */
import { sql } from 'kysely';
import type { Cid } from '#protocol/codec/cid.ts';
import type { ReplicaRow } from '../../record/rows.ts';
import { rowOf, tables } from '../../record/tables.ts';
import type { UnitRecord } from '../port.ts';
import type { Db } from '../sql/schema.ts';
import { type Place, unitRecord } from '../sql/units.ts';
import { columnList, textArray } from './rows.ts';

const waitMs = 2;
const unitsMax = 256;

interface Asked {
  cid: Cid;
  resolve: (unit: UnitRecord | null) => void;
  reject: (error: unknown) => void;
}

export class UnitReader {
  readonly #db: Db;
  #asked: Asked[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(db: Db) {
    this.#db = db;
  }

  read(cid: Cid): Promise<UnitRecord | null> {
    return new Promise((resolve, reject) => {
      this.#asked.push({ cid, resolve, reject });
      if (this.#asked.length >= unitsMax) this.#flush();
      else this.#timer ??= setTimeout(() => this.#flush(), waitMs);
    });
  }

  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const asked = this.#asked;
    this.#asked = [];
    this.#look(new Set(asked.map(({ cid }) => cid))).then(
      (units) => {
        for (const { cid, resolve } of asked) resolve(units.get(cid) ?? null);
      },
      (error: unknown) => {
        for (const { reject } of asked) reject(error);
      },
    );
  }

  async #look(cids: ReadonlySet<Cid>): Promise<Map<Cid, UnitRecord>> {
    const named = textArray(cids);
    // Replicas after units: a unit that is read as agreed then has the reveals that made it so.
    const units = await sql<Record<string, unknown>>`
      SELECT ${columns.units} FROM units WHERE cid = ANY(${named}::text[])`.execute(this.#db);
    const [replicas, places] = await Promise.all([
      sql<Record<string, unknown>>`SELECT ${columns.replicas} FROM replicas WHERE unit = ANY(${named}::text[])
        ORDER BY attempt, leased_at, assignment`.execute(this.#db),
      // By a look at the index for each: a plan for all at once reads the whole table while it is young.
      sql<Place & { unit: Cid }>`SELECT u.unit, s.job, s.round FROM unnest(${named}::text[]) u(unit)
        CROSS JOIN LATERAL (SELECT job, round FROM slots WHERE slots.unit = u.unit ORDER BY job, round LIMIT 1) s`.execute(
        this.#db,
      ),
    ]);
    const placeOf = new Map(places.rows.map((row) => [row.unit, { job: row.job, round: Number(row.round) }]));
    const replicasOf = new Map<Cid, ReplicaRow[]>();
    for (const row of replicas.rows.map((stored) => rowOf('replicas', stored))) {
      const list = replicasOf.get(row.unit);
      if (list) list.push(row);
      else replicasOf.set(row.unit, [row]);
    }
    const records = new Map<Cid, UnitRecord>();
    for (const row of units.rows.map((stored) => rowOf('units', stored))) {
      const place = placeOf.get(row.cid);
      if (place) records.set(row.cid, unitRecord(row, place, replicasOf.get(row.cid) ?? []));
    }
    return records;
  }
}

const columns = {
  units: sql.raw(columnList(tables.units)),
  replicas: sql.raw(columnList(tables.replicas)),
};
