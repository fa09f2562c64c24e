/**
 * Rows as this process last saw them, each with the transaction that wrote it (`xmin`): what a batch works on before it has looked at the database.
 *
 * Nothing here is trusted. A batch locks the rows that it goes by and compares their transactions before it writes, and whoever changes a replica
 * writes its unit too, so a unit that has not changed has the same replicas. Only what is shown to who asks for work, and how many replicas a
 * contributor has open, may be a moment old. A connection that is lost empties it: another server may be there next time.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { ContributorRow, DeviceRow, ReplicaRow, UnitRow } from '../../record/rows.ts';

/** A row and the transaction that wrote it. */
export interface Versioned<Row> {
  row: Row;
  version: string;
}

export interface KnownUnit extends Versioned<UnitRow> {
  /** All of them, oldest first. */
  replicas: readonly ReplicaRow[];
  /** When this process wrote it itself, by the monotonic clock; 0 when it was read. */
  writtenAt: number;
}

export interface KnownContributor extends Versioned<ContributorRow> {
  devices: readonly Versioned<DeviceRow>[];
}

/** Some kilobytes each. */
const unitsMax = 16_384;
const contributorsMax = 16_384;
const absentMax = 1_024;
/** Open replicas are changed by other processes too, which this one does not hear of: read anew after a while, and never gone by when they are old. */
const openMs = 1_000;
const openMsMax = 5_000;

export class RowCache {
  readonly #units = new Map<Cid, KnownUnit>();
  readonly #contributors = new Map<Hex, KnownContributor>();
  readonly #unitOf = new Map<Hex, Cid>();
  readonly #open = new Map<Hex, { at: number; rows: Map<Hex, ReplicaRow> }>();
  /** Accounts that there were none of. */
  readonly absent = new Set<string>();

  unit(cid: Cid): KnownUnit | undefined {
    return this.#units.get(cid);
  }

  contributor(address: Hex): KnownContributor | undefined {
    return this.#contributors.get(address);
  }

  unitOf(assignment: Hex): Cid | undefined {
    return this.#unitOf.get(assignment);
  }

  open(contributor: Hex): readonly ReplicaRow[] | undefined {
    const known = this.#open.get(contributor);
    if (known && performance.now() - known.at < openMsMax) return [...known.rows.values()];
    return undefined;
  }

  hasFreshOpen(contributor: Hex): boolean {
    const known = this.#open.get(contributor);
    return known !== undefined && performance.now() - known.at < openMs;
  }

  keepUnit(cid: Cid, known: KnownUnit): void {
    this.dropUnit(cid);
    this.#units.set(cid, known);
    for (const { assignment } of known.replicas) this.#unitOf.set(assignment, cid);
    if (this.#units.size > unitsMax) this.dropUnit(firstKey(this.#units) as Cid);
  }

  keepContributor(address: Hex, known: KnownContributor): void {
    this.#contributors.delete(address);
    this.#contributors.set(address, known);
    if (this.#contributors.size > contributorsMax) this.dropContributor(firstKey(this.#contributors) as Hex);
  }

  keepOpen(contributor: Hex, rows: readonly ReplicaRow[]): void {
    this.#open.delete(contributor);
    const byAssignment = new Map(rows.map((row) => [row.assignment, row]));
    this.#open.set(contributor, { at: performance.now(), rows: byAssignment });
    if (this.#open.size > contributorsMax) this.#open.delete(firstKey(this.#open) as Hex);
  }

  keepAbsent(account: string): void {
    if (this.absent.size >= absentMax) this.absent.clear();
    this.absent.add(account);
  }

  /** A replica as it has just been written. */
  noteReplica(row: ReplicaRow, isOpen: boolean): void {
    const known = this.#open.get(row.contributor);
    if (isOpen) known?.rows.set(row.assignment, row);
    else known?.rows.delete(row.assignment);
  }

  dropUnit(cid: Cid): void {
    const known = this.#units.get(cid);
    if (!known) return;
    this.#units.delete(cid);
    for (const { assignment } of known.replicas) this.#unitOf.delete(assignment);
  }

  dropContributor(address: Hex): void {
    this.#contributors.delete(address);
    this.#open.delete(address);
  }

  clear(): void {
    this.#units.clear();
    this.#contributors.clear();
    this.#unitOf.clear();
    this.#open.clear();
    this.absent.clear();
  }
}

function firstKey<K>(map: ReadonlyMap<K, unknown>): K | undefined {
  for (const key of map.keys()) return key;
  return undefined;
}
