/**
 * The rows that one transaction works on: what has been loaded of them, what the operations of the batch have made of them, and what is to be
 * written. An operation sees what those before it did; one that throws is undone by a journal, so that it leaves nothing.
 *
 * What has not been loaded is a `Miss`. A unit's replicas are loaded with it, under its lock; a contributor's devices with the contributor.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type {
  AccountRow,
  ContributorRow,
  DeviceRow,
  NewTransfer,
  ReplicaRow,
  Rows,
  TableName,
  UnitRow,
} from '../../record/rows.ts';
import { type Climate, Miss, type View } from '../../record/view.ts';

const openStates: ReadonlySet<string> = new Set(['leased', 'committed', 'revealed']);

/** Rows under string keys: as they are now, null where it is known that there is none. */
class TableState<Row> {
  readonly rows = new Map<string, Row | null>();
  /** Keys of rows that the database had. */
  readonly stored = new Set<string>();
  readonly dirty = new Set<string>();

  load(key: string, row: Row | null): void {
    if (this.rows.has(key)) return;
    this.rows.set(key, row);
    if (row) this.stored.add(key);
  }

  /** What is to be inserted, and what to be updated, in the order of keys. */
  changes(): { added: Row[]; changed: Row[] } {
    const added: Row[] = [];
    const changed: Row[] = [];
    for (const key of [...this.dirty].sort()) {
      const row = this.rows.get(key) as Row;
      (this.stored.has(key) ? changed : added).push(row);
    }
    return { added, changed };
  }
}

export const deviceKey = (contributor: Hex, device: string): string => `${contributor} ${device}`;

export class Batch implements View {
  readonly climate: Climate;
  readonly units = new TableState<UnitRow>();
  readonly replicaRows = new TableState<ReplicaRow>();
  readonly contributors = new TableState<ContributorRow>();
  readonly devices = new TableState<DeviceRow>();
  readonly #accounts = new Map<string, bigint | null>();
  readonly #changes = new Map<string, bigint>();
  readonly #replicasOf = new Map<Cid, readonly Hex[]>();
  /** The unit of each assignment that was asked for; null where there is none. */
  readonly #unitOf = new Map<Hex, Cid | null>();
  readonly #open = new Map<Hex, ReadonlyMap<Hex, ReplicaRow>>();
  readonly #contributorsLoaded = new Set<Hex>();
  readonly #transfers: NewTransfer[] = [];
  readonly #attached: { unit: Cid; cid: Cid }[] = [];
  readonly #published: Cid[] = [];
  readonly #journal: (() => void)[] = [];

  constructor(climate: Climate) {
    this.climate = climate;
  }

  // What the database had.

  loadAssignment(assignment: Hex, unit: Cid | null): void {
    if (!this.#unitOf.has(assignment)) this.#unitOf.set(assignment, unit);
  }

  loadUnit(cid: Cid, row: UnitRow | null): void {
    this.units.load(cid, row);
  }

  /** All replicas of a unit, oldest first. */
  loadReplicas(unit: Cid, rows: readonly ReplicaRow[]): void {
    if (this.#replicasOf.has(unit)) return;
    this.#replicasOf.set(
      unit,
      rows.map((row) => row.assignment),
    );
    for (const row of rows) {
      this.replicaRows.load(row.assignment, row);
      this.#unitOf.set(row.assignment, unit);
    }
  }

  loadContributor(address: Hex, row: ContributorRow | null, devices: readonly DeviceRow[]): void {
    if (this.#contributorsLoaded.has(address)) return;
    this.#contributorsLoaded.add(address);
    this.contributors.load(address, row);
    for (const device of devices) this.devices.load(deviceKey(address, device.device), device);
  }

  loadOpen(contributor: Hex, rows: readonly ReplicaRow[]): void {
    if (this.#open.has(contributor)) return;
    const open = new Map(rows.map((row) => [row.assignment, row]));
    // What this batch knows better: replicas of units under its locks.
    for (const row of this.replicaRows.rows.values()) {
      if (row?.contributor === contributor) keepOpen(open, row);
    }
    this.#open.set(contributor, open);
  }

  loadAccount(id: string, balance: bigint | null): void {
    if (!this.#accounts.has(id)) this.#accounts.set(id, balance);
  }

  hasUnit(cid: Cid): boolean {
    return this.#replicasOf.has(cid);
  }

  hasAssignment(assignment: Hex): boolean {
    return this.#unitOf.has(assignment);
  }

  hasContributor(address: Hex): boolean {
    return this.#contributorsLoaded.has(address);
  }

  hasOpen(contributor: Hex): boolean {
    return this.#open.has(contributor);
  }

  hasAccount(id: string): boolean {
    return this.#accounts.has(id);
  }

  /** Units among those loaded that want replicas, in the order of the queue. */
  wanting(): Cid[] {
    return [...this.units.rows.values()]
      .filter((row) => row !== null && row.wanted > 0 && !row.paused)
      .sort((a, b) => (a as UnitRow).queue - (b as UnitRow).queue)
      .map((row) => (row as UnitRow).cid);
  }

  // The view.

  unit(cid: Cid): UnitRow | null {
    const row = this.units.rows.get(cid);
    if (row === undefined) throw new Miss({ units: [cid] });
    return row;
  }

  replicas(unit: Cid): readonly ReplicaRow[] {
    const list = this.#replicasOf.get(unit);
    if (!list) throw new Miss({ units: [unit] });
    return list.map((assignment) => this.replicaRows.rows.get(assignment) as ReplicaRow);
  }

  replica(assignment: Hex): ReplicaRow | null {
    const row = this.replicaRows.rows.get(assignment);
    if (row) return row;
    const unit = this.#unitOf.get(assignment);
    if (unit === undefined) throw new Miss({ assignments: [assignment] });
    if (unit !== null && !this.#replicasOf.has(unit)) throw new Miss({ units: [unit] });
    return null;
  }

  contributor(address: Hex): ContributorRow | null {
    const row = this.contributors.rows.get(address);
    if (row === undefined) throw new Miss({ contributors: [address] });
    return row;
  }

  device(contributor: Hex, device: string): DeviceRow | null {
    const row = this.devices.rows.get(deviceKey(contributor, device));
    if (row) return row;
    if (!this.#contributorsLoaded.has(contributor)) throw new Miss({ contributors: [contributor] });
    return null;
  }

  account(id: string): AccountRow | null {
    const balance = this.#accounts.get(id);
    if (balance === undefined) throw new Miss({ accounts: [id] });
    const change = this.#changes.get(id);
    if (balance === null && change === undefined) return null;
    return { id, balance: (balance ?? 0n) + (change ?? 0n) };
  }

  openReplicas(contributor: Hex): readonly ReplicaRow[] {
    const open = this.#open.get(contributor);
    if (!open) throw new Miss({ open: [contributor] });
    return [...open.values()];
  }

  put<T extends TableName>(table: T, row: Rows[T]): void {
    if (table === 'units') this.#putUnit(row as UnitRow);
    else if (table === 'replicas') this.#putReplica(row as ReplicaRow);
    else if (table === 'contributors') this.#putContributor(row as ContributorRow);
    else if (table === 'devices') this.#putDevice(row as DeviceRow);
    else this.#putAccount(row as AccountRow);
  }

  post(transfer: NewTransfer): void {
    this.#transfers.push(transfer);
    this.#journal.push(() => void this.#transfers.pop());
    this.#change(transfer.debit, -transfer.amount);
    this.#change(transfer.credit, transfer.amount);
  }

  attach(unit: Cid, blocks: readonly Cid[]): void {
    this.#attached.push(...blocks.map((cid) => ({ unit, cid })));
    this.#journal.push(() => void this.#attached.splice(this.#attached.length - blocks.length));
  }

  publish(unit: Cid): void {
    this.#published.push(unit);
    this.#journal.push(() => void this.#published.pop());
  }

  // One operation after the other.

  /** Runs an operation; what it did is undone when it throws. */
  attempt<T>(run: () => T): T {
    const before = this.#journal.length;
    try {
      return run();
    } catch (error) {
      this.#undo(before);
      throw error;
    }
  }

  /** Back to what was loaded. */
  reset(): void {
    this.#undo(0);
  }

  #undo(to: number): void {
    while (this.#journal.length > to) this.#journal.pop()?.();
  }

  // What to write.

  get transfers(): readonly NewTransfer[] {
    return this.#transfers;
  }

  get attached(): readonly { unit: Cid; cid: Cid }[] {
    return this.#attached;
  }

  get published(): readonly Cid[] {
    return this.#published;
  }

  /** By how much each balance moves, in the order of ids; an account that is new is in it even when its balance stays zero. */
  get balanceChanges(): { id: string; change: bigint }[] {
    return [...this.#changes]
      .map(([id, change]) => ({ id, change }))
      .sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }

  #putUnit(row: UnitRow): void {
    if (!this.#replicasOf.has(row.cid)) throw new Miss({ units: [row.cid] });
    this.#set(this.units, row.cid, row);
  }

  #putReplica(row: ReplicaRow): void {
    const { assignment, unit, contributor } = row;
    const list = this.#replicasOf.get(unit);
    if (!list) throw new Miss({ units: [unit] });
    if (this.#set(this.replicaRows, assignment, row) === undefined) {
      this.#replicasOf.set(unit, [...list, assignment]);
      const known = this.#unitOf.get(assignment);
      this.#unitOf.set(assignment, unit);
      this.#journal.push(() => {
        this.#replicasOf.set(unit, list);
        if (known === undefined) this.#unitOf.delete(assignment);
        else this.#unitOf.set(assignment, known);
      });
    }
    const open = this.#open.get(contributor);
    if (!open) return;
    const next = new Map(open);
    keepOpen(next, row);
    this.#open.set(contributor, next);
    this.#journal.push(() => void this.#open.set(contributor, open));
  }

  #putContributor(row: ContributorRow): void {
    if (!this.#contributorsLoaded.has(row.address)) throw new Miss({ contributors: [row.address] });
    this.#set(this.contributors, row.address, row);
  }

  #putDevice(row: DeviceRow): void {
    if (!this.#contributorsLoaded.has(row.contributor)) throw new Miss({ contributors: [row.contributor] });
    this.#set(this.devices, deviceKey(row.contributor, row.device), row);
  }

  /** Balances are written as changes, so one that is put becomes the difference to what it was. */
  #putAccount({ id, balance }: AccountRow): void {
    this.#change(id, balance - (this.account(id)?.balance ?? 0n));
  }

  #change(id: string, amount: bigint): void {
    const before = this.#changes.get(id);
    this.#changes.set(id, (before ?? 0n) + amount);
    this.#journal.push(() => {
      if (before === undefined) this.#changes.delete(id);
      else this.#changes.set(id, before);
    });
  }

  /** The row before; undefined or null where there was none. */
  #set<Row>(table: TableState<Row>, key: string, row: Row): Row | null | undefined {
    const before = table.rows.get(key);
    const wasDirty = table.dirty.has(key);
    table.rows.set(key, row);
    table.dirty.add(key);
    this.#journal.push(() => {
      if (before === undefined) table.rows.delete(key);
      else table.rows.set(key, before);
      if (!wasDirty) table.dirty.delete(key);
    });
    return before;
  }
}

function keepOpen(open: Map<Hex, ReplicaRow>, row: ReplicaRow): void {
  if (openStates.has(row.state)) open.set(row.assignment, row);
  else open.delete(row.assignment);
}
