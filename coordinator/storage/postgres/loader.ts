/**
 * Loads what a batch of operations will read, set by set and under locks, in two round trips: first the units, then what belongs to them.
 *
 * Locks are always taken in the same order (units, contributors, accounts, each by key), so transactions wait for each other and never in a
 * circle. A unit's lock covers its replicas, a contributor's its devices. What an operation turns out to read beyond that is locked without
 * waiting; where somebody else has it, the whole batch begins again, with everything known from the start.
 */
import type pg from 'pg';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { poolOf } from '../../ledger/accounts.ts';
import type { ContributorRow, DeviceRow, ReplicaRow, UnitRow } from '../../record/rows.ts';
import { tables } from '../../record/tables.ts';
import type { Hints, Search } from '../../record/view.ts';
import type { Batch } from './batch.ts';
import { columnList, decoder, textArray } from './rows.ts';

export const poolPrefix = poolOf('');

/** What a batch reads, as far as is known. */
export class Wanted {
  readonly units = new Set<Cid>();
  /** Units whose replicas' contributors will be read too. */
  readonly judged = new Set<Cid>();
  /** The same of all units that are wanted by an assignment. */
  judgesAll = false;
  /** The purses of the jobs of judged units are read too. */
  readsPools = false;
  readonly assignments = new Set<Hex>();
  readonly contributors = new Set<Hex>();
  readonly accounts = new Set<string>();
  readonly open = new Set<Hex>();

  add({ units, assignments, contributors, accounts, open }: Hints): this {
    for (const unit of units ?? []) {
      this.units.add(unit);
      this.judged.add(unit);
    }
    for (const assignment of assignments ?? []) this.assignments.add(assignment);
    for (const contributor of contributors ?? []) this.contributors.add(contributor);
    for (const account of accounts ?? []) this.accounts.add(account);
    for (const contributor of open ?? []) this.open.add(contributor);
    return this;
  }
}

/** Where in the queue a batch looks for work. */
export interface Place {
  from: number;
  most: number;
}

const units = {
  decode: decoder('units'),
  /** Locks in the order of ids; what asks for work is shown whole stretches of the queue. */
  text: `SELECT ${columnList(tables.units)} FROM units WHERE cid = ANY(ARRAY(
      SELECT unnest($1::text[])
      UNION SELECT unit FROM replicas WHERE assignment = ANY($2::text[])
      UNION (SELECT cid FROM units WHERE wanted > 0 AND paused = 0 AND queue >= $3 ORDER BY queue LIMIT $4)
    )) ORDER BY cid FOR NO KEY UPDATE`,
};
const due = `SELECT ${columnList(tables.units)} FROM units WHERE due_at < $1 ORDER BY due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`;
const assignments = 'SELECT assignment, unit FROM replicas WHERE assignment = ANY($1::text[])';
const replicas = {
  decode: decoder('replicas'),
  text: `SELECT ${columnList(tables.replicas)} FROM replicas WHERE unit = ANY($1::text[]) ORDER BY attempt, leased_at, assignment`,
};
const openReplicas = `SELECT ${columnList(tables.replicas)} FROM replicas
  WHERE contributor = ANY($1::text[]) AND state IN ('leased', 'committed', 'revealed') ORDER BY leased_at, assignment`;
/** Of those named, and of those that have a replica of the units named. */
const involved = `ARRAY(SELECT unnest($1::text[]) UNION SELECT contributor FROM replicas WHERE unit = ANY($2::text[]))`;
const contributors = {
  decode: decoder('contributors'),
  text: `SELECT ${columnList(tables.contributors)} FROM contributors WHERE address = ANY(${involved}) ORDER BY address FOR NO KEY UPDATE`,
};
const devices = {
  decode: decoder('devices'),
  text: `SELECT ${columnList(tables.devices)} FROM devices WHERE contributor = ANY(${involved})`,
};
const accounts = 'SELECT id, balance FROM accounts WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE';
const touched = `SELECT DISTINCT r.unit FROM replicas r JOIN units u ON u.cid = r.unit
  WHERE r.contributor = $1 AND r.state = 'agreed' AND u.phase = 'accepted' AND r.unit > $2 ORDER BY r.unit LIMIT $3`;

export class Loader {
  readonly #client: pg.Client;
  readonly #batch: Batch;

  constructor(client: pg.Client, batch: Batch) {
    this.#client = client;
    this.#batch = batch;
  }

  /** Loads what is wanted and not there yet; resolves with the units that were found due. Without `wait` a lock not to be had at once fails. */
  async load(
    wanted: Wanted,
    { wait, place, overdue }: { wait: boolean; place?: Place | null; overdue?: Search | null },
  ): Promise<Cid[]> {
    const batch = this.#batch;
    const missingUnits = [...wanted.units].filter((unit) => !batch.hasUnit(unit));
    const missingAssignments = [...wanted.assignments].filter((each) => !batch.hasAssignment(each));
    const [named, found, late] = await Promise.all([
      this.#named(missingAssignments),
      this.#units(missingUnits, missingAssignments, place ?? null, wait),
      overdue?.kind === 'due' ? this.#due(overdue) : [],
    ]);
    const unitOf = new Map(named);
    for (const assignment of missingAssignments) {
      batch.loadAssignment(assignment, unitOf.get(assignment) ?? null);
    }
    const fresh = new Map<Cid, UnitRow | null>(missingUnits.map((cid) => [cid, null]));
    for (const row of [...found, ...late]) if (!batch.hasUnit(row.cid)) fresh.set(row.cid, row);
    const judged = [...wanted.judged, ...late.map((row) => row.cid)];
    if (wanted.judgesAll) judged.push(...unitOf.values());
    const judgedNow = judged.filter((cid) => fresh.has(cid));
    if (wanted.readsPools) {
      for (const cid of judgedNow) {
        const job = fresh.get(cid)?.job;
        if (job !== undefined) wanted.accounts.add(poolOf(job));
      }
    }
    await this.#belongings(fresh, judgedNow, wanted, wait);
    return late.map((row) => row.cid);
  }

  async touched({ contributor, after, most }: Extract<Search, { kind: 'touched' }>): Promise<Cid[]> {
    const rows = await this.#rows('touched', touched, [contributor, after, most]);
    return rows.map(([unit]) => unit as Cid);
  }

  async #named(missing: readonly Hex[]): Promise<[Hex, Cid][]> {
    if (missing.length === 0) return [];
    return (await this.#rows('assignments', assignments, [textArray(missing)])) as [Hex, Cid][];
  }

  async #units(
    cids: readonly Cid[],
    byAssignment: readonly Hex[],
    place: Place | null,
    wait: boolean,
  ): Promise<UnitRow[]> {
    if (cids.length === 0 && byAssignment.length === 0 && !place) return [];
    const values = [textArray(cids), textArray(byAssignment), place?.from ?? 0, place?.most ?? 0];
    return (await this.#locked('units', units.text, values, wait)).map(units.decode);
  }

  async #due({ before, most }: Extract<Search, { kind: 'due' }>): Promise<UnitRow[]> {
    return (await this.#rows('due', due, [before, most])).map(units.decode);
  }

  async #belongings(
    fresh: ReadonlyMap<Cid, UnitRow | null>,
    judgedUnits: readonly Cid[],
    wanted: Wanted,
    wait: boolean,
  ): Promise<void> {
    const batch = this.#batch;
    const judged = textArray(judgedUnits);
    const people = [...wanted.contributors].filter((each) => !batch.hasContributor(each));
    const open = [...wanted.open].filter((each) => !batch.hasOpen(each));
    const purses = [...wanted.accounts].filter((each) => !batch.hasAccount(each));
    const askPeople = people.length > 0 || judgedUnits.length > 0;
    const who = [textArray(people), judged];
    const [replicaRows, contributorRows, deviceRows, openRows, accountRows] = await Promise.all([
      fresh.size > 0 ? this.#rows('replicas', replicas.text, [textArray(fresh.keys())]) : [],
      askPeople ? this.#locked('contributors', contributors.text, who, wait) : [],
      askPeople ? this.#rows('devices', devices.text, who) : [],
      open.length > 0 ? this.#rows('open', openReplicas, [textArray(open)]) : [],
      purses.length > 0 ? this.#locked('accounts', accounts, [textArray(purses)], wait) : [],
    ]);
    this.#keepUnits(fresh, replicaRows.map(replicas.decode));
    const own = deviceRows.map(devices.decode);
    this.#keepContributors(people, contributorRows.map(contributors.decode), own);
    const opened = groupBy(openRows.map(replicas.decode), (row) => row.contributor);
    for (const contributor of open) batch.loadOpen(contributor, opened.get(contributor) ?? []);
    const balances = new Map(accountRows.map(([id, balance]) => [id as string, BigInt(balance as string)]));
    for (const id of purses) batch.loadAccount(id, balances.get(id) ?? null);
  }

  #keepUnits(fresh: ReadonlyMap<Cid, UnitRow | null>, rows: readonly ReplicaRow[]): void {
    const ofUnit = groupBy(rows, (row) => row.unit);
    for (const [cid, row] of fresh) {
      this.#batch.loadUnit(cid, row);
      this.#batch.loadReplicas(cid, ofUnit.get(cid) ?? []);
    }
  }

  #keepContributors(
    asked: readonly Hex[],
    rows: readonly ContributorRow[],
    deviceRows: readonly DeviceRow[],
  ): void {
    const ofContributor = groupBy(deviceRows, (row) => row.contributor);
    const known = new Map(rows.map((row) => [row.address, row]));
    for (const address of new Set([...asked, ...known.keys()])) {
      this.#batch.loadContributor(address, known.get(address) ?? null, ofContributor.get(address) ?? []);
    }
  }

  #locked(name: string, text: string, values: unknown[], wait: boolean): Promise<unknown[][]> {
    return wait ? this.#rows(name, text, values) : this.#rows(`${name} now`, `${text} NOWAIT`, values);
  }

  async #rows(name: string, text: string, values: unknown[]): Promise<unknown[][]> {
    const result = await this.#client.query({ name, text, values, rowMode: 'array' });
    return result.rows;
  }
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
