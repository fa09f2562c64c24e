/**
 * Reads what a batch of operations goes by. `prefetch` brings what the cache lacks or has old, without locks and outside of any transaction; `secure`
 * locks rows and compares the transactions that wrote them with those of the rows that the batch has gone by, and reads anew what differs.
 *
 * Locks are always taken in the same order (units, contributors, accounts, each by key), so transactions wait for each other and never in a
 * circle. A unit's lock covers its replicas, a contributor's its devices. What turns out to be needed beyond the first round is locked without
 * waiting; where somebody else has it, the whole batch begins again.
 */
import type pg from 'pg';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { ReplicaRow, Rows, UnitRow } from '../../record/rows.ts';
import { type Table, tables } from '../../record/tables.ts';
import type { Search } from '../../record/view.ts';
import { type Batch, Keys } from './batch.ts';
import type { KnownContributor, KnownUnit, RowCache, Versioned } from './cache.ts';
import { corked } from './connection.ts';
import { columnList, decoder, textArray } from './rows.ts';

/** A row's columns and the transaction that wrote it, last. */
const versioned = (table: Table): string => `${columnList(table, 't')}, t.xmin`;
const asked = 'SELECT unnest($1::text[]) UNION SELECT unit FROM replicas WHERE assignment = ANY($2::text[])';
const units = {
  decode: decoder('units'),
  text: `SELECT ${versioned(tables.units)} FROM units t WHERE cid = ANY(ARRAY(${asked}))`,
  lock: 'SELECT cid, xmin FROM units WHERE cid = ANY($1::text[]) ORDER BY cid FOR NO KEY UPDATE',
  due: `SELECT ${versioned(tables.units)} FROM units t WHERE due_at < $1 ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
};
const replicas = {
  decode: decoder('replicas'),
  text: `SELECT ${columnList(tables.replicas)} FROM replicas WHERE unit = ANY(ARRAY(${asked})) ORDER BY attempt, leased_at, assignment`,
  open: `SELECT ${columnList(tables.replicas)} FROM replicas
    WHERE contributor = ANY($1::text[]) AND settled_at IS NULL AND state IN ('leased', 'committed', 'revealed') ORDER BY leased_at, assignment`,
};
/** Keys and the transactions that are known to have written their rows, 0 for none: what was written by another one. */
const known = 'unnest($1::text[], $2::xid[]) v(known, version)';
const changed = {
  /** Units, each as often as it has replicas, which come behind its own columns. */
  units: `SELECT ${versioned(tables.units)}, ${columnList(tables.replicas, 'r')} FROM ${known} JOIN units t ON t.cid = known
    LEFT JOIN replicas r ON r.unit = t.cid WHERE t.xmin <> version ORDER BY r.attempt, r.leased_at, r.assignment`,
  contributors: `SELECT ${versioned(tables.contributors)} FROM ${known} JOIN contributors t ON t.address = known WHERE t.xmin <> version`,
  devices: `SELECT ${versioned(tables.devices)} FROM unnest($1::text[]) a JOIN devices t ON t.contributor = a
    WHERE NOT EXISTS (SELECT FROM unnest($2::text[], $3::text[], $4::xid[]) v(c, d, x) WHERE c = t.contributor AND d = t.device AND x = t.xmin)`,
};
/** Columns of a unit, `xmin` with them, before those of its replica. */
const unitFields = tables.units.columns.length + 1;
const contributors = {
  decode: decoder('contributors'),
  text: `SELECT ${versioned(tables.contributors)} FROM contributors t WHERE address = ANY($1::text[])`,
  lock: 'SELECT address, xmin FROM contributors WHERE address = ANY($1::text[]) ORDER BY address FOR NO KEY UPDATE',
};
const devices = {
  decode: decoder('devices'),
  text: `SELECT ${versioned(tables.devices)} FROM devices t WHERE contributor = ANY($1::text[])`,
  versions: 'SELECT contributor, device, xmin FROM devices WHERE contributor = ANY($1::text[])',
};
const accounts = 'SELECT id, balance FROM accounts WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE';
const touched = `SELECT DISTINCT r.unit FROM replicas r JOIN units u ON u.cid = r.unit
  WHERE r.contributor = $1 AND r.state = 'agreed' AND u.phase = 'accepted' AND r.unit > $2 ORDER BY r.unit LIMIT $3`;

/** What `load` found: units with their replicas, contributors with their devices, open replicas. */
interface Loaded {
  units: Map<Cid, Omit<KnownUnit, 'writtenAt'>>;
  contributors: Map<Hex, KnownContributor>;
  open: Map<Hex, ReplicaRow[]>;
}

export class Loader {
  readonly #client: pg.Client;
  readonly #cache: RowCache;

  constructor(client: pg.Client, cache: RowCache) {
    this.#client = client;
    this.#cache = cache;
  }

  /** Brings what is wanted and not there, or not as it is in the database, into the cache. What there is none of, it leaves out. */
  async prefetch(wanted: Keys): Promise<void> {
    const cache = this.#cache;
    const unknown = [...wanted.assignments].filter((assignment) => !cache.unitOf(assignment));
    for (const cid of (await this.#unitsOf(new Set(unknown))).values()) wanted.units.add(cid);
    for (const assignment of wanted.assignments) {
      const cid = cache.unitOf(assignment);
      if (cid) wanted.units.add(cid);
    }
    const open = [...wanted.open].filter((address) => !cache.hasFreshOpen(address));
    await corked(this.#client, () =>
      Promise.all([
        this.#refreshUnits([...wanted.units]),
        this.#refreshContributors([...wanted.contributors]),
        this.#refreshOpen(open),
      ]),
    );
  }

  async #refreshUnits(cids: readonly Cid[]): Promise<void> {
    if (cids.length === 0) return;
    const cache = this.#cache;
    const versions = cids.map((cid) => cache.unit(cid)?.version ?? '0');
    const values = [textArray(cids), textArray(versions)];
    const rows = await this.#rows('changed units', changed.units, values);
    const found = new Map<Cid, Versioned<UnitRow> & { replicas: ReplicaRow[] }>();
    for (const fields of rows) {
      const cid = fields[0] as Cid;
      let unit = found.get(cid);
      if (!unit) {
        unit = { ...withVersion(fields.slice(0, unitFields), units.decode), replicas: [] };
        found.set(cid, unit);
      }
      if (fields[unitFields] !== null) unit.replicas.push(replicas.decode(fields.slice(unitFields)));
    }
    for (const [cid, unit] of found) cache.keepUnit(cid, { ...unit, writtenAt: 0 });
  }

  async #refreshContributors(addresses: readonly Hex[]): Promise<void> {
    if (addresses.length === 0) return;
    const cache = this.#cache;
    const versions = addresses.map((address) => cache.contributor(address)?.version ?? '0');
    const own = addresses.flatMap((address) => cache.contributor(address)?.devices ?? []);
    const [rows, deviceRows] = await Promise.all([
      this.#rows('changed contributors', changed.contributors, [textArray(addresses), textArray(versions)]),
      this.#rows('changed devices', changed.devices, [
        textArray(addresses),
        textArray(own.map(({ row }) => row.contributor)),
        textArray(own.map(({ row }) => row.device)),
        textArray(own.map(({ version }) => version)),
      ]),
    ]);
    const devicesOf = groupBy(
      deviceRows.map((fields) => withVersion(fields, devices.decode)),
      ({ row }) => row.contributor,
    );
    const found = new Map(
      rows.map((fields) => withVersion(fields, contributors.decode)).map((each) => [each.row.address, each]),
    );
    for (const address of new Set([...found.keys(), ...devicesOf.keys()])) {
      const before = cache.contributor(address);
      const row = found.get(address) ?? before;
      if (!row) continue;
      const fresh = devicesOf.get(address) ?? [];
      const names = new Set(fresh.map((each) => each.row.device));
      const kept = (before?.devices ?? []).filter((each) => !names.has(each.row.device));
      cache.keepContributor(address, { row: row.row, version: row.version, devices: [...kept, ...fresh] });
    }
  }

  async #refreshOpen(addresses: readonly Hex[]): Promise<void> {
    if (addresses.length === 0) return;
    const rows = await this.#rows('open', replicas.open, [textArray(addresses)]);
    const opened = groupBy(rows.map(replicas.decode), (row) => row.contributor);
    for (const address of addresses) this.#cache.keepOpen(address, opened.get(address) ?? []);
  }

  /**
   * Locks what the batch needs and loads what it lacks or has old. True when all was as the batch had it; otherwise its operations have to be
   * undone by `reset` before this looks into it, and run again.
   */
  async secure(batch: Batch, needs: Keys, wait: boolean, reset: () => void): Promise<boolean> {
    const named = await this.#unitsOf(needs.assignments);
    for (const cid of named.values()) needs.units.add(cid);
    const [units, people, own, purses] = await this.#lock(needs, wait);
    const stale = new Keys();
    for (const cid of needs.units) {
      if (batch.versions.units.get(cid) !== (units.get(cid) ?? '')) stale.units.add(cid);
    }
    for (const address of needs.contributors) {
      if (!isCurrent(batch, address, people, own)) stale.contributors.add(address);
    }
    stale.add({ open: needs.open });
    const purse = [...needs.accounts].some((id) => batch.balanceOf(id) !== (purses.get(id) ?? null));
    batch.secured.add({ ...needs, assignments: [] });
    if (stale.isEmpty && needs.assignments.size === 0 && !purse) return true;
    reset();
    for (const id of needs.accounts) batch.loadAccount(id, purses.get(id) ?? null);
    for (const each of needs.assignments) batch.loadAssignment(each, named.get(each) ?? null);
    await this.#reload(batch, stale);
    return false;
  }

  /** Units that are overdue and nobody else has in hand, locked and loaded into the batch. */
  async due(batch: Batch, { before, most }: Extract<Search, { kind: 'due' }>): Promise<Cid[]> {
    const rows = await this.#rows('due', units.due, [before, most]);
    const found = rows.map((fields) => withVersion(fields, units.decode));
    const cids = found.map(({ row }) => row.cid);
    const ofUnit = await this.#replicasOf(cids);
    for (const known of found) {
      batch.loadUnit(known.row.cid, { ...known, replicas: ofUnit.get(known.row.cid) ?? [] });
    }
    batch.secured.add({ units: cids });
    return cids;
  }

  async touched({ contributor, after, most }: Extract<Search, { kind: 'touched' }>): Promise<Cid[]> {
    const rows = await this.#rows('touched', touched, [contributor, after, most]);
    return rows.map(([unit]) => unit as Cid);
  }

  async #reload(batch: Batch, stale: Keys): Promise<void> {
    const loaded = await this.#load(stale);
    for (const cid of stale.units) batch.loadUnit(cid, loaded.units.get(cid) ?? null);
    for (const address of stale.contributors) {
      batch.loadContributor(address, loaded.contributors.get(address) ?? null);
    }
    for (const address of stale.open) batch.loadOpen(address, loaded.open.get(address) ?? []);
  }

  /** The transactions of what there is of these rows, and balances; the rows are locked. */
  #lock(needs: Keys, wait: boolean) {
    const people = needs.contributors.size > 0;
    return Promise.all([
      needs.units.size > 0
        ? this.#pairs('lock units', units.lock, needs.units, wait)
        : new Map<Cid, string>(),
      people
        ? this.#pairs('lock contributors', contributors.lock, needs.contributors, wait)
        : new Map<Hex, string>(),
      people ? this.#deviceVersions(needs.contributors) : new Map<Hex, Map<string, string>>(),
      needs.accounts.size > 0 ? this.#balances(needs.accounts, wait) : new Map<string, bigint>(),
    ]);
  }

  async #pairs<K extends string>(
    name: string,
    text: string,
    keys: Iterable<K>,
    wait: boolean,
  ): Promise<Map<K, string>> {
    return new Map((await this.#locked(name, text, keys, wait)) as [K, string][]);
  }

  async #balances(ids: Iterable<string>, wait: boolean): Promise<Map<string, bigint>> {
    const rows = await this.#locked('lock accounts', accounts, ids, wait);
    return new Map(rows.map(([id, balance]) => [id as string, BigInt(balance as string)]));
  }

  async #deviceVersions(addresses: Iterable<string>): Promise<Map<Hex, Map<string, string>>> {
    const rows = await this.#rows('device versions', devices.versions, [textArray(addresses)]);
    const found = new Map<Hex, Map<string, string>>();
    for (const [contributor, device, version] of rows as [Hex, string, string][]) {
      const own = found.get(contributor);
      if (own) own.set(device, version);
      else found.set(contributor, new Map([[device, version]]));
    }
    return found;
  }

  /** Without locks. A unit is read before its replicas: should they change in between, its transaction does not fit, and that is found out. */
  async #load({ units: cids, assignments, contributors: addresses, open }: Keys): Promise<Loaded> {
    const asks = cids.size + assignments.size > 0;
    const named = asks ? [textArray(cids), textArray(assignments)] : [];
    const people = addresses.size > 0 ? [textArray(addresses)] : null;
    const [unitRows, replicaRows, contributorRows, deviceRows, openRows] = await Promise.all([
      asks ? this.#rows('units', units.text, named) : [],
      asks ? this.#rows('replicas', replicas.text, named) : [],
      people ? this.#rows('contributors', contributors.text, people) : [],
      people ? this.#rows('devices', devices.text, people) : [],
      open.size > 0 ? this.#rows('open', replicas.open, [textArray(open)]) : [],
    ]);
    const ofUnit = groupBy(replicaRows.map(replicas.decode), (row) => row.unit);
    const found = unitRows.map((fields) => withVersion(fields, units.decode));
    const devicesOf = groupBy(
      deviceRows.map((fields) => withVersion(fields, devices.decode)),
      ({ row }) => row.contributor,
    );
    const who = contributorRows.map((fields) => withVersion(fields, contributors.decode));
    return {
      units: new Map(
        found.map((known) => [known.row.cid, { ...known, replicas: ofUnit.get(known.row.cid) ?? [] }]),
      ),
      contributors: new Map(
        who.map((known) => {
          const { address } = known.row;
          return [address, { ...known, devices: devicesOf.get(address) ?? [] }];
        }),
      ),
      open: groupBy(openRows.map(replicas.decode), (row) => row.contributor),
    };
  }

  async #unitsOf(assignments: ReadonlySet<Hex>): Promise<Map<Hex, Cid>> {
    if (assignments.size === 0) return new Map();
    const text = 'SELECT assignment, unit FROM replicas WHERE assignment = ANY($1::text[])';
    return new Map((await this.#rows('assignments', text, [textArray(assignments)])) as [Hex, Cid][]);
  }

  async #replicasOf(cids: readonly Cid[]): Promise<Map<Cid, ReplicaRow[]>> {
    if (cids.length === 0) return new Map();
    const rows = await this.#rows('replicas', replicas.text, [textArray(cids), '{}']);
    return groupBy(rows.map(replicas.decode), (row) => row.unit);
  }

  #locked(name: string, text: string, keys: Iterable<string>, wait: boolean): Promise<unknown[][]> {
    const values = [textArray(keys)];
    return wait ? this.#rows(name, text, values) : this.#rows(`${name} now`, `${text} NOWAIT`, values);
  }

  async #rows(name: string, text: string, values: unknown[]): Promise<unknown[][]> {
    const result = await this.#client.query({ name, text, values, rowMode: 'array' });
    return result.rows;
  }
}

function withVersion<Row extends Rows[keyof Rows]>(
  fields: readonly unknown[],
  decode: (fields: readonly unknown[]) => Row,
): Versioned<Row> {
  return { row: decode(fields), version: fields.at(-1) as string };
}

function isCurrent(
  batch: Batch,
  address: Hex,
  people: ReadonlyMap<Hex, string>,
  devicesOf: ReadonlyMap<Hex, ReadonlyMap<string, string>>,
): boolean {
  if (batch.versions.contributors.get(address) !== (people.get(address) ?? '')) return false;
  const stored = devicesOf.get(address);
  const known = batch.devicesOf(address);
  if ((stored?.size ?? 0) !== known.size) return false;
  return [...known].every(([device, version]) => stored?.get(device) === version);
}

function groupBy<K, V>(values: readonly V[], key: (value: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>();
  for (const value of values) {
    const group = groups.get(key(value));
    if (group) group.push(value);
    else groups.set(key(value), [value]);
  }
  return groups;
}
