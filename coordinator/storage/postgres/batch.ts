/**
 * The rows that one transaction works on: what is known of them, what the operations of the batch have made of them, and what is to be written. An
 * operation sees what those before it did; one that throws is undone by a journal, so that it leaves nothing.
 *
 * Rows come from the cache until they are `secured`: locked, and seen to be as they are in the database. `needs` are the rows that the outcomes so
 * far go by and that are not. What nobody knows is a `Miss`. A unit's replicas belong to it, a contributor's devices to the contributor.
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
import { type Climate, Miss, type Operation, type View } from '../../record/view.ts';
import type { KnownContributor, KnownUnit, RowCache } from './cache.ts';

const openStates: ReadonlySet<string> = new Set(['leased', 'committed', 'revealed']);

/** Rows under string keys: as they are now, null where it is known that there is none. */
class TableState<Row> {
  readonly rows = new Map<string, Row | null>();
  /** Keys of rows that the database had. */
  readonly stored = new Set<string>();
  readonly dirty = new Set<string>();

  load(key: string, row: Row | null): void {
    this.rows.set(key, row);
    if (row) this.stored.add(key);
    else this.stored.delete(key);
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

/** Rows by their keys. */
export class Keys {
  readonly units = new Set<Cid>();
  readonly contributors = new Set<Hex>();
  readonly accounts = new Set<string>();
  readonly assignments = new Set<Hex>();
  /** Contributors whose open replicas are meant. */
  readonly open = new Set<Hex>();

  add(keys: KeyLists): void {
    for (const each of keys.units ?? []) this.units.add(each);
    for (const each of keys.contributors ?? []) this.contributors.add(each);
    for (const each of keys.accounts ?? []) this.accounts.add(each);
    for (const each of keys.assignments ?? []) this.assignments.add(each);
    for (const each of keys.open ?? []) this.open.add(each);
  }

  without(keys: Keys): Keys {
    const left = new Keys();
    left.add({
      units: [...this.units].filter((each) => !keys.units.has(each)),
      contributors: [...this.contributors].filter((each) => !keys.contributors.has(each)),
      accounts: [...this.accounts].filter((each) => !keys.accounts.has(each)),
      assignments: [...this.assignments].filter((each) => !keys.assignments.has(each)),
      open: [...this.open].filter((each) => !keys.open.has(each)),
    });
    return left;
  }

  get isEmpty(): boolean {
    const { units, contributors, accounts, assignments, open } = this;
    return units.size + contributors.size + accounts.size + assignments.size + open.size === 0;
  }

  clear(): void {
    this.units.clear();
    this.contributors.clear();
    this.accounts.clear();
    this.assignments.clear();
    this.open.clear();
  }
}

interface KeyLists {
  readonly units?: Iterable<Cid>;
  readonly contributors?: Iterable<Hex>;
  readonly accounts?: Iterable<string>;
  readonly assignments?: Iterable<Hex>;
  readonly open?: Iterable<Hex>;
}

export class Batch implements View {
  readonly climate: Climate;
  readonly #cache: RowCache;
  readonly units = new TableState<UnitRow>();
  readonly replicaRows = new TableState<ReplicaRow>();
  readonly contributors = new TableState<ContributorRow>();
  readonly devices = new TableState<DeviceRow>();
  readonly #accounts = new Map<string, bigint | null>();
  readonly #changes = new Map<string, bigint>();
  readonly #replicasOf = new Map<Cid, readonly Hex[]>();
  readonly #devicesOf = new Map<Hex, readonly string[]>();
  /** The unit of each assignment that was asked for; null where there is none. */
  readonly #unitOf = new Map<Hex, Cid | null>();
  readonly #open = new Map<Hex, ReadonlyMap<Hex, ReplicaRow>>();
  /** The transaction that wrote each row, as it was loaded; '' where there is none. */
  readonly versions = { units: new Map<Cid, string>(), contributors: new Map<Hex, string>() };
  readonly deviceVersions = new Map<string, string>();
  /** Rows that are locked and known to be as they are. */
  readonly #secured = new Keys();
  /** Rows that the outcomes go by. */
  readonly #required = new Keys();
  /** Of the operation that runs. */
  readonly #touched = new Keys();
  readonly #written = new Set<Cid>();
  readonly #transfers: NewTransfer[] = [];
  readonly #attached: { unit: Cid; cid: Cid }[] = [];
  readonly #published: Cid[] = [];
  readonly #journal: (() => void)[] = [];

  constructor(climate: Climate, cache: RowCache) {
    this.climate = climate;
    this.#cache = cache;
  }

  // What the database has.

  loadAssignment(assignment: Hex, unit: Cid | null): void {
    this.#unitOf.set(assignment, unit);
  }

  /** A unit with all its replicas, oldest first; null where there is none. */
  loadUnit(cid: Cid, known: Pick<KnownUnit, 'row' | 'version' | 'replicas'> | null): void {
    this.units.load(cid, known?.row ?? null);
    this.versions.units.set(cid, known?.version ?? '');
    const replicas = known?.replicas ?? [];
    this.#replicasOf.set(
      cid,
      replicas.map((row) => row.assignment),
    );
    for (const row of replicas) {
      this.replicaRows.load(row.assignment, row);
      this.#unitOf.set(row.assignment, cid);
    }
  }

  loadContributor(address: Hex, known: KnownContributor | null): void {
    for (const device of this.#devicesOf.get(address) ?? [])
      this.devices.rows.delete(deviceKey(address, device));
    this.contributors.load(address, known?.row ?? null);
    this.versions.contributors.set(address, known?.version ?? '');
    const devices = known?.devices ?? [];
    this.#devicesOf.set(
      address,
      devices.map(({ row }) => row.device),
    );
    for (const { row, version } of devices) {
      this.devices.load(deviceKey(address, row.device), row);
      this.deviceVersions.set(deviceKey(address, row.device), version);
    }
  }

  loadOpen(contributor: Hex, rows: readonly ReplicaRow[]): void {
    const open = new Map(rows.map((row) => [row.assignment, row]));
    // What this batch knows better: replicas of its units.
    for (const row of this.replicaRows.rows.values()) {
      if (row?.contributor === contributor) keepOpen(open, row);
    }
    this.#open.set(contributor, open);
  }

  loadAccount(id: string, balance: bigint | null): void {
    this.#accounts.set(id, balance);
  }

  /** Devices of a contributor as they were loaded, with their transactions. */
  devicesOf(address: Hex): Map<string, string> {
    const names = this.#devicesOf.get(address) ?? [];
    return new Map(names.map((name) => [name, this.deviceVersions.get(deviceKey(address, name)) ?? '']));
  }

  /** The balance as it was loaded; null where there is no account, undefined where nobody has looked. */
  balanceOf(id: string): bigint | null | undefined {
    return this.#accounts.get(id);
  }

  get secured(): Keys {
    return this.#secured;
  }

  /** Rows that the outcomes so far go by and that are not secured. */
  needs(): Keys {
    return this.#required.without(this.#secured);
  }

  /** A unit as far as it is known, for those who only want to show it. */
  peek(cid: Cid): UnitRow | null {
    const row = this.units.rows.get(cid);
    return row === undefined ? (this.#cache.unit(cid)?.row ?? null) : row;
  }

  // The view.

  unit(cid: Cid): UnitRow | null {
    this.#knowUnit(cid);
    return this.units.rows.get(cid) as UnitRow | null;
  }

  replicas(unit: Cid): readonly ReplicaRow[] {
    return this.#knowUnit(unit).map((assignment) => this.replicaRows.rows.get(assignment) as ReplicaRow);
  }

  replica(assignment: Hex): ReplicaRow | null {
    const unit = this.#unitOf.get(assignment) ?? this.#cache.unitOf(assignment);
    if (unit === undefined) {
      if (this.#unitOf.get(assignment) === null) return null;
      throw new Miss({ assignments: [assignment] });
    }
    this.#knowUnit(unit);
    return this.replicaRows.rows.get(assignment) ?? null;
  }

  contributor(address: Hex): ContributorRow | null {
    this.#knowContributor(address);
    return this.contributors.rows.get(address) as ContributorRow | null;
  }

  device(contributor: Hex, device: string): DeviceRow | null {
    this.#knowContributor(contributor);
    return this.devices.rows.get(deviceKey(contributor, device)) ?? null;
  }

  account(id: string): AccountRow | null {
    this.#touched.accounts.add(id);
    if (!this.#accounts.has(id)) {
      if (!this.#cache.absent.has(id)) throw new Miss({ accounts: [id] });
      this.#accounts.set(id, null);
    }
    const balance = this.#accounts.get(id) as bigint | null;
    const change = this.#changes.get(id);
    if (balance === null && change === undefined) return null;
    return { id, balance: (balance ?? 0n) + (change ?? 0n) };
  }

  openReplicas(contributor: Hex): readonly ReplicaRow[] {
    this.#touched.open.add(contributor);
    if (!this.#open.has(contributor)) {
      const known = this.#cache.open(contributor);
      if (!known) throw new Miss({ open: [contributor] });
      this.loadOpen(contributor, known);
    }
    return [...(this.#open.get(contributor) as ReadonlyMap<Hex, ReplicaRow>).values()];
  }

  /** The assignments of a unit, which may come from the cache. */
  #knowUnit(cid: Cid): readonly Hex[] {
    this.#touched.units.add(cid);
    const known = this.#replicasOf.get(cid);
    if (known) return known;
    const cached = this.#cache.unit(cid);
    if (!cached) throw new Miss({ units: [cid] });
    this.loadUnit(cid, cached);
    return this.#replicasOf.get(cid) as readonly Hex[];
  }

  #knowContributor(address: Hex): void {
    this.#touched.contributors.add(address);
    if (this.#devicesOf.has(address)) return;
    const cached = this.#cache.contributor(address);
    if (!cached) throw new Miss({ contributors: [address] });
    this.loadContributor(address, cached);
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

  /** Runs an operation; what it did is undone when it throws. What its outcome goes by is noted. */
  attempt<T>({ run, hints }: Operation<T>, offered: readonly Cid[]): T {
    const before = this.#journal.length;
    this.#touched.clear();
    this.#written.clear();
    try {
      return run(this, offered);
    } catch (error) {
      this.#undo(before);
      throw error;
    } finally {
      this.#require(hints.search?.kind === 'work' ? offered : null);
    }
  }

  /** The operation that ran last looked at what it was shown, if anything, and took none of it. */
  foundNothing(shown: readonly Cid[]): boolean {
    if (this.#written.size > 0) return false;
    return shown.length === 0 || shown.some((cid) => this.#touched.units.has(cid));
  }

  /** Units that were only shown to somebody who asks for work need not be as they were shown, unless one was taken. */
  #require(shown: readonly Cid[] | null): void {
    const { units, contributors, accounts, open } = this.#touched;
    const required = this.#required;
    const unread = shown && new Set(shown);
    for (const each of units) if (!unread?.has(each) || this.#written.has(each)) required.units.add(each);
    for (const each of contributors) required.contributors.add(each);
    for (const each of accounts) required.accounts.add(each);
    // Limits on what one may hold are soft across processes.
    if (!shown) for (const each of open) required.open.add(each);
  }

  /** Back to what was loaded. */
  reset(): void {
    this.#undo(0);
    this.#required.clear();
    this.units.dirty.clear();
  }

  /** Forgets units that are not secured; after `reset`. */
  unload(): void {
    for (const cid of [...this.#replicasOf.keys()]) {
      if (this.#secured.units.has(cid)) continue;
      for (const assignment of this.#replicasOf.get(cid) as readonly Hex[])
        this.replicaRows.rows.delete(assignment);
      this.#replicasOf.delete(cid);
      this.units.rows.delete(cid);
      this.versions.units.delete(cid);
    }
  }

  #undo(to: number): void {
    while (this.#journal.length > to) this.#journal.pop()?.();
  }

  // What to write.

  /** A unit whose replica has changed is written too: that is how others see that what they know of it is old. */
  touchUnits(): void {
    for (const assignment of this.replicaRows.dirty) {
      this.units.dirty.add((this.replicaRows.rows.get(assignment) as ReplicaRow).unit);
    }
  }

  /** It has been written, by this transaction: what is known of its rows from now on. */
  keep(version: string): void {
    const cache = this.#cache;
    const writtenAt = performance.now();
    for (const cid of this.#secured.units) {
      const row = this.units.rows.get(cid);
      const dirty = this.units.dirty.has(cid);
      // What is over is read again should anybody ask.
      if (!row || (row.phase === 'accepted' && row.wanted === 0)) cache.dropUnit(cid);
      else {
        const replicas = (this.#replicasOf.get(cid) as readonly Hex[]).map((each) =>
          this.replicaRows.rows.get(each),
        );
        cache.keepUnit(cid, {
          row,
          version: dirty ? version : (this.versions.units.get(cid) as string),
          replicas: replicas as ReplicaRow[],
          writtenAt: dirty ? writtenAt : (cache.unit(cid)?.writtenAt ?? 0),
        });
      }
    }
    for (const assignment of this.replicaRows.dirty) {
      const row = this.replicaRows.rows.get(assignment) as ReplicaRow;
      cache.noteReplica(row, openStates.has(row.state));
    }
    for (const address of this.#secured.contributors) this.#keepContributor(address, version);
    for (const id of this.#secured.accounts) {
      if (this.#accounts.get(id) === null) cache.keepAbsent(id);
      else cache.absent.delete(id);
    }
    for (const id of this.#changes.keys()) cache.absent.delete(id);
  }

  #keepContributor(address: Hex, version: string): void {
    const row = this.contributors.rows.get(address);
    if (!row) return;
    const devices = (this.#devicesOf.get(address) as readonly string[]).map((name) => {
      const key = deviceKey(address, name);
      const known = this.deviceVersions.get(key) as string;
      return {
        row: this.devices.rows.get(key) as DeviceRow,
        version: this.devices.dirty.has(key) ? version : known,
      };
    });
    const known = this.versions.contributors.get(address) as string;
    this.#cache.keepContributor(address, {
      ...{ row, devices },
      version: this.contributors.dirty.has(address) ? version : known,
    });
  }

  /** What this batch has in hand is read anew by the next one. */
  forget(): void {
    for (const cid of this.#replicasOf.keys()) this.#cache.dropUnit(cid);
    for (const address of this.#devicesOf.keys()) this.#cache.dropContributor(address);
  }

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
    this.#knowUnit(row.cid);
    this.#written.add(row.cid);
    this.#set(this.units, row.cid, row);
  }

  #putReplica(row: ReplicaRow): void {
    const { assignment, unit, contributor } = row;
    const list = this.#knowUnit(unit);
    this.#written.add(unit);
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
    this.#knowContributor(row.address);
    this.#set(this.contributors, row.address, row);
  }

  #putDevice(row: DeviceRow): void {
    this.#knowContributor(row.contributor);
    const { contributor, device } = row;
    const before = this.#set(this.devices, deviceKey(contributor, device), row);
    if (before) return;
    const names = this.#devicesOf.get(contributor) as readonly string[];
    this.#devicesOf.set(contributor, [...names, device]);
    this.#journal.push(() => void this.#devicesOf.set(contributor, names));
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
