/**
 * The record in maps: for unit tests and for the simulation. One process, nothing durable, and fast: an operation works on the rows themselves,
 * and what it did is undone from a journal should it throw.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { NewTransfer, ReplicaRow, Rows, TableName, Transfer, UnitRow } from '../../record/rows.ts';
import {
  calm,
  type Climate,
  type Engine,
  type Operation,
  type Search,
  type View,
} from '../../record/view.ts';
import { pack, unpack } from './archive.ts';
import { DueIndex, OpenIndex, QueueIndex, TouchedIndex } from './indexes.ts';

const none: readonly never[] = [];

/** A unit with its replicas, of every attempt, oldest first. */
interface Entry {
  readonly cid: Cid;
  /** The rows, if they have been put away. */
  packed: string | null;
  row: UnitRow | null;
  replicas: readonly ReplicaRow[];
}

const nothing: Entry = { cid: '', packed: null, row: null, replicas: none };

export class MemoryStore implements Engine, View {
  climate: Climate = calm;
  /** Time of the transfers posted. */
  now = 0;
  readonly contributors = new Map<Hex, Rows['contributors']>();
  /** By contributor, then by device. */
  readonly #devices = new Map<Hex, readonly Rows['devices'][]>();
  readonly accounts = new Map<string, Rows['accounts']>();
  readonly transfers: Transfer[] = [];
  readonly blocks = new Map<Cid, readonly Cid[]>();
  readonly published = new Set<Cid>();
  readonly #entries = new Map<Cid, Entry>();
  /** Of every assignment, the entry of its unit. */
  readonly #entryOf = new Map<Hex, Entry>();
  /** An operation asks for one unit several times. */
  #recent = nothing;
  readonly #queue = new QueueIndex();
  readonly #due = new DueIndex();
  readonly #open = new OpenIndex();
  readonly #touched = new TouchedIndex();
  #journal: (() => void)[] = [];

  run<T>(operation: Operation<T>): Promise<T> {
    try {
      return Promise.resolve(this.runNow(operation));
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  runNow<T>(operation: Operation<T>): T {
    const { search } = operation.hints;
    const offered = search ? this.#search(search) : none;
    if (this.#journal.length > 0) this.#journal = [];
    try {
      return operation.run(this, offered);
    } catch (error) {
      for (const undo of this.#journal.reverse()) undo();
      throw error;
    }
  }

  #search(search: Search): readonly Cid[] {
    switch (search.kind) {
      case 'work':
        return this.#queue.from(search.random, search.window, search.most);
      case 'due':
        return this.#due.before(search.before, search.most);
      case 'touched':
        return this.#touched.after(search.contributor, search.after, search.most);
    }
  }

  #entry(cid: Cid): Entry | null {
    if (this.#recent.cid === cid) return this.#recent;
    const found = this.#entries.get(cid);
    if (!found) return null;
    fetch(found);
    this.#recent = found;
    return found;
  }

  /** Puts the rows of a unit away, to be fetched again by whoever asks for them: for runs of a million units. */
  archive(cid: Cid): void {
    const entry = this.#entries.get(cid);
    if (!entry?.row) return;
    entry.packed = pack(entry.row, entry.replicas);
    entry.row = null;
    entry.replicas = none;
    if (this.#recent === entry) this.#recent = nothing;
  }

  #entryFor(cid: Cid): Entry {
    let entry = this.#entry(cid);
    if (!entry) this.#entries.set(cid, (entry = { cid, packed: null, row: null, replicas: none }));
    return entry;
  }

  /** The rows of all units that are not put away. */
  *atHand(): Iterable<UnitRow> {
    for (const { row } of this.#entries.values()) if (row) yield row;
  }

  unit(cid: Cid): UnitRow | null {
    return this.#entry(cid)?.row ?? null;
  }

  replicas(unit: Cid): readonly ReplicaRow[] {
    return this.#entry(unit)?.replicas ?? none;
  }

  replica(assignment: Hex): ReplicaRow | null {
    const entry = this.#entryOf.get(assignment);
    if (!entry) return null;
    fetch(entry);
    for (const row of entry.replicas) if (row.assignment === assignment) return row;
    return null;
  }

  contributor(address: Hex): Rows['contributors'] | null {
    return this.contributors.get(address) ?? null;
  }

  device(contributor: Hex, device: string): Rows['devices'] | null {
    for (const row of this.#devices.get(contributor) ?? none) if (row.device === device) return row;
    return null;
  }

  account(id: string): Rows['accounts'] | null {
    return this.accounts.get(id) ?? null;
  }

  openReplicas(contributor: Hex): readonly ReplicaRow[] {
    return this.#open.of(contributor);
  }

  put<T extends TableName>(table: T, row: Rows[T]): void {
    switch (table) {
      case 'units':
        return this.#putUnit(row as UnitRow);
      case 'replicas':
        return this.#putReplica(row as ReplicaRow);
      case 'contributors':
        return this.#putPlain(this.contributors, (row as Rows['contributors']).address, row);
      case 'devices': {
        const own = row as Rows['devices'];
        const others = this.#devices.get(own.contributor)?.filter((each) => each.device !== own.device);
        return this.#putPlain(this.#devices, own.contributor, others ? [...others, own] : [own]);
      }
      case 'accounts':
        return this.#putPlain(this.accounts, (row as Rows['accounts']).id, row);
    }
  }

  #putPlain<K>(map: Map<K, unknown>, key: K, row: unknown): void {
    const old = map.get(key);
    map.set(key, row);
    this.#journal.push(() => (old === undefined ? map.delete(key) : map.set(key, old)));
  }

  #putUnit(row: UnitRow): void {
    const entry = this.#entryFor(row.cid);
    const old = entry.row;
    this.#setUnit(entry, row);
    this.#journal.push(() => this.#setUnit(entry, old));
  }

  #setUnit(entry: Entry, row: UnitRow | null): void {
    const { cid, row: old } = entry;
    entry.row = row;
    const queue = placeOf(row);
    if (queue !== placeOf(old)) this.#queue.set(cid, queue);
    const dueAt = row?.dueAt ?? null;
    if (dueAt !== (old?.dueAt ?? null)) this.#due.set(cid, dueAt);
  }

  #putReplica(row: ReplicaRow): void {
    const entry = this.#entryFor(row.unit);
    const at = entry.replicas.findIndex((each) => each.assignment === row.assignment);
    const old = entry.replicas[at] ?? null;
    this.#setReplica(entry, at, old, row);
    this.#journal.push(() => this.#setReplica(entry, old ? at : entry.replicas.length - 1, row, old));
  }

  /** Lists are replaced, never changed: an operation may be walking one. */
  #setReplica(entry: Entry, at: number, old: ReplicaRow | null, row: ReplicaRow | null): void {
    const next = entry.replicas.slice();
    if (row) next[old ? at : next.length] = row;
    else next.splice(at, 1);
    entry.replicas = next;
    if (!old) this.#entryOf.set((row as ReplicaRow).assignment, entry);
    else if (!row) this.#entryOf.delete(old.assignment);
    this.#open.set(old, row);
    this.#touched.set(old, row);
  }

  post(transfer: NewTransfer): void {
    this.transfers.push({ ...transfer, seq: this.transfers.length + 1, at: this.now });
    this.#journal.push(() => this.transfers.pop());
    this.#add(transfer.debit, -transfer.amount);
    this.#add(transfer.credit, transfer.amount);
  }

  #add(id: string, amount: bigint): void {
    const balance = (this.accounts.get(id)?.balance ?? 0n) + amount;
    this.#putPlain(this.accounts, id, { id, balance });
  }

  attach(unit: Cid, blocks: readonly Cid[]): void {
    if (blocks.length === 0) return;
    const old = this.blocks.get(unit);
    this.blocks.set(unit, [...new Set([...(old ?? []), ...blocks])]);
    this.#journal.push(() => (old ? this.blocks.set(unit, old) : this.blocks.delete(unit)));
  }

  publish(unit: Cid): void {
    for (const block of this.blocks.get(unit) ?? none) {
      if (this.published.has(block)) continue;
      this.published.add(block);
      this.#journal.push(() => this.published.delete(block));
    }
  }
}

function fetch(entry: Entry): void {
  if (entry.packed === null) return;
  const { unit, replicas } = unpack(entry.packed);
  entry.row = unit;
  entry.replicas = replicas;
  entry.packed = null;
}

/** Where a unit stands in the queue; null when it wants nothing. */
function placeOf(row: UnitRow | null): number | null {
  return row && row.wanted > 0 && !row.paused ? row.queue : null;
}
