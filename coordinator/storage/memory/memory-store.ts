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
import { DueIndex, OpenIndex, QueueIndex, TouchedIndex } from './indexes.ts';

const none: readonly never[] = [];

export class MemoryStore implements Engine, View {
  climate: Climate = calm;
  /** Time of the transfers posted. */
  now = 0;
  readonly units = new Map<Cid, UnitRow>();
  readonly contributors = new Map<Hex, Rows['contributors']>();
  /** By contributor, then by device. */
  readonly #devices = new Map<Hex, readonly Rows['devices'][]>();
  readonly accounts = new Map<string, Rows['accounts']>();
  readonly transfers: Transfer[] = [];
  readonly blocks = new Map<Cid, readonly Cid[]>();
  readonly published = new Set<Cid>();
  readonly #replicas = new Map<Hex, ReplicaRow>();
  readonly #ofUnit = new Map<Cid, ReplicaRow[]>();
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

  unit(cid: Cid): UnitRow | null {
    return this.units.get(cid) ?? null;
  }

  replicas(unit: Cid): readonly ReplicaRow[] {
    return this.#ofUnit.get(unit) ?? none;
  }

  replica(assignment: Hex): ReplicaRow | null {
    return this.#replicas.get(assignment) ?? null;
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
    const old = this.units.get(row.cid) ?? null;
    this.#setUnit(row.cid, row);
    this.#journal.push(() => this.#setUnit(row.cid, old));
  }

  #setUnit(cid: Cid, row: UnitRow | null): void {
    if (row) this.units.set(cid, row);
    else this.units.delete(cid);
    this.#queue.set(cid, row && row.wanted > 0 && !row.paused ? row.queue : null);
    this.#due.set(cid, row?.dueAt ?? null);
  }

  #putReplica(row: ReplicaRow): void {
    const old = this.#replicas.get(row.assignment) ?? null;
    this.#setReplica(row.assignment, old, row);
    this.#journal.push(() => this.#setReplica(row.assignment, row, old));
  }

  /** Lists are replaced, never changed: an operation may be walking one. */
  #setReplica(assignment: Hex, old: ReplicaRow | null, row: ReplicaRow | null): void {
    if (row) this.#replicas.set(assignment, row);
    else this.#replicas.delete(assignment);
    const unit = (row ?? old)?.unit as Cid;
    const list = this.#ofUnit.get(unit) ?? none;
    if (!old) this.#ofUnit.set(unit, [...list, row as ReplicaRow]);
    else if (!row)
      this.#ofUnit.set(
        unit,
        list.filter((each) => each !== old),
      );
    else
      this.#ofUnit.set(
        unit,
        list.map((each) => (each === old ? row : each)),
      );
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
