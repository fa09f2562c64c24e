/**
 * The record's rows in SQLite as the operations see them: read on demand, kept for the next operation, written into a journal with each batch and into
 * their tables now and then (see `pending.ts`). This process is the only one that writes (see `lock.ts`), so what is kept stays true.
 *
 * An operation works on the rows themselves; what it did is undone from a journal should it throw. Queue and deadlines are indexes in memory.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { mayTryAgain } from '../../consensus/consensus.ts';
import type { NewTransfer, ReplicaRow, Rows, TableName, UnitRow } from '../../record/rows.ts';
import { tables } from '../../record/tables.ts';
import { isOpen } from '../../record/units.ts';
import type { Climate, Operation, Search, View } from '../../record/view.ts';
import { DueIndex, QueueIndex } from '../memory/indexes.ts';
import { Kept } from './kept.ts';
import { allParts, type Part } from './parts.ts';
import { type Change, type Fields, fieldsOf, PendingList, PendingRows } from './pending.ts';
import { RowIo } from './row-io.ts';
import { insertSealed, insertTransfer, type PlacedTransfer } from './sealing.ts';
import type { Statements } from './statements.ts';

/** Units that are kept with their replicas, and twice as many contributors: those in use, and as many that are not. */
const keptDefault = 20_000;
/** Units read at once. */
const aheadMax = 64;

type Effect = { kind: 'attach'; unit: Cid; blocks: readonly Cid[] } | { kind: 'publish'; unit: Cid };

/** What the journal holds. */
type Entry =
  | Change
  | readonly ['transfer', Omit<PlacedTransfer, 'amount'> & { amount: string }]
  | readonly ['effect', Effect];

const none: readonly never[] = [];

export class SqliteStore implements View {
  climate: Climate;
  /** Time of the transfers posted. */
  now = 0;
  readonly #sql: Statements;
  readonly #io: { [T in TableName]: RowIo<T> };
  readonly #units: Kept<Cid, UnitRow | null>;
  /** All replicas of a unit. */
  readonly #lists: Kept<Cid, readonly ReplicaRow[]>;
  readonly #unitOf: Kept<Hex, Cid>;
  /** Assignments of a contributor's open replicas. */
  readonly #open: Kept<Hex, readonly Hex[]>;
  readonly #contributors: Kept<Hex, Rows['contributors'] | null>;
  readonly #devices: Kept<string, Rows['devices'] | null>;
  readonly #accounts: Kept<string, Rows['accounts'] | null>;
  #queue = new QueueIndex();
  #due = new DueIndex();
  #indexed = false;
  #journal: (() => void)[] = [];
  readonly #pending: { [T in TableName]: PendingRows<T> };
  readonly #transfers = new PendingList<PlacedTransfer>();
  readonly #effects = new PendingList<Effect>();
  /** What the journal is to have of the batch so far. */
  #changes: Entry[] = [];
  /** The `id` of the last transfer; null until it is looked up. */
  #lastTransfer: number | null = null;
  #entries = 0;
  /** The journal may hold what the tables lack, as after a crash. */
  #behind = true;

  constructor(sql: Statements, climate: Climate, keptMax = keptDefault) {
    this.#sql = sql;
    this.climate = climate;
    this.#units = new Kept(keptMax);
    this.#lists = new Kept(keptMax);
    this.#unitOf = new Kept(4 * keptMax);
    this.#open = new Kept(2 * keptMax);
    this.#contributors = new Kept(2 * keptMax);
    this.#devices = new Kept(2 * keptMax);
    this.#accounts = new Kept(4 * keptMax);
    this.#io = {
      units: new RowIo(sql, 'units'),
      replicas: new RowIo(sql, 'replicas'),
      contributors: new RowIo(sql, 'contributors'),
      devices: new RowIo(sql, 'devices'),
      accounts: new RowIo(sql, 'accounts'),
    };
    const { units, replicas, contributors, devices, accounts } = this.#io;
    this.#pending = {
      units: new PendingRows('units', units, (cid) => this.#units.find(cid) ?? null),
      replicas: new PendingRows('replicas', replicas, (assignment) => this.replica(assignment as Hex)),
      contributors: new PendingRows(
        'contributors',
        contributors,
        (address) => this.#contributors.find(address as Hex) ?? null,
      ),
      devices: new PendingRows('devices', devices, (key) => this.#devices.find(key) ?? null),
      accounts: new PendingRows('accounts', accounts, (id) => this.#accounts.find(id) ?? null),
    };
  }

  /** What wants a replica and what is due, read when it is first asked for: a database that has just failed may fail again. */
  #loadIndexes(): void {
    if (this.#indexed) return;
    this.#queue = new QueueIndex();
    this.#due = new DueIndex();
    type Row = { cid: Cid; queue: number };
    const wanting = 'SELECT cid, queue FROM units WHERE wanted > 0 AND paused = 0 ORDER BY queue';
    for (const { cid, queue } of this.#sql.all<Row>(wanting)) this.#queue.set(cid, queue);
    const due = 'SELECT cid, due_at AS at FROM units WHERE due_at IS NOT NULL';
    for (const { cid, at } of this.#sql.all<{ cid: Cid; at: number }>(due)) this.#due.set(cid, at);
    this.#indexed = true;
  }

  /** Runs an operation on the rows; what it put stays unless it throws. */
  runNow<T>(operation: Operation<T>): T {
    const { search } = operation.hints;
    this.#recover();
    this.#loadIndexes();
    this.#journal = [];
    try {
      return operation.run(this, search ? this.#search(search) : none);
    } catch (error) {
      for (const undo of this.#journal.reverse()) undo();
      throw error;
    }
  }

  /** Forgets everything that is kept: the transaction was lost, or others have written. */
  reset(): void {
    for (const kept of this.#allKept()) kept.clear();
    for (const pending of this.#allPending()) pending.clear();
    this.#changes = [];
    this.#lastTransfer = null;
    this.#indexed = false;
    this.#behind = true;
  }

  /** Units that were written by other means than `put`. */
  refresh(cids: readonly Cid[]): void {
    for (const cid of cids) {
      this.#units.delete(cid);
      const row = this.#io.units.get(cid);
      if (row) this.#index(cid, row);
    }
  }

  /** One of these parts is not in its table as it is committed. */
  lacks(parts: readonly Part[]): boolean {
    return this.#behind || parts.some((part) => this.#pendingOf(part).size > 0);
  }

  #pendingOf(part: Part): { readonly size: number } {
    if (part === 'transfers') return this.#transfers;
    return part === 'effects' ? this.#effects : this.#pending[part];
  }

  /** Rows and entries that the tables lack. */
  get pending(): number {
    return this.#allPending().reduce((sum, { size }) => sum + size, 0);
  }

  /** The tables may not say what is committed: `settle` first. */
  get isBehind(): boolean {
    return this.#behind;
  }

  get isSettled(): boolean {
    return !this.#behind && this.#entries === 0;
  }

  /** What has not been used for long is let go. Only while the tables lack nothing: they are asked for what is not kept. */
  trim(): void {
    for (const kept of this.#allKept()) kept.trim();
  }

  /** So much is kept that some of it should go. */
  get isFull(): boolean {
    return this.#allKept().some((kept) => kept.isFull);
  }

  #allKept() {
    const rows = [this.#units, this.#contributors, this.#devices, this.#accounts];
    return [...rows, this.#lists, this.#unitOf, this.#open];
  }

  #allPending() {
    return [...Object.values(this.#pending), this.#transfers, this.#effects];
  }

  /** Writes what the batch has changed into the journal, inside its transaction. */
  save(): void {
    this.#collect();
    if (this.#changes.length === 0) return;
    this.#entries += 1;
    this.#sql.run(insertEntry, this.#entries, JSON.stringify(this.#changes));
    this.#changes = [];
  }

  /** Brings the tables up to date, inside a transaction of the caller; once all of them are, it empties the journal. */
  settle(parts: readonly Part[] = allParts): void {
    this.#recover();
    for (const part of parts) this.#write(part);
    if (parts !== allParts) return;
    if (this.#entries > 0) this.#sql.run(deleteEntries);
    this.#entries = 0;
  }

  /**
   * Chains up to `most` transfers on their way into their table, inside a transaction of the caller, so that each is written once. Null when some
   * are there already and wait to be sealed: they come first.
   */
  seal(most: number): number | null {
    this.#recover();
    if (this.#sql.get(selectUnsealed)) return null;
    const transfers = this.#transfers.take(most);
    if (transfers.length > 0) insertSealed(this.#sql, transfers);
    return transfers.length;
  }

  #collect(): void {
    for (const pending of Object.values(this.#pending)) pending.collect(this.#changes);
    for (const transfer of this.#transfers.collect()) {
      transfer.id = this.#lastTransfer = (this.#lastTransfer ?? this.#findLastTransfer()) + 1;
      this.#changes.push(['transfer', { ...transfer, amount: String(transfer.amount) }]);
    }
    for (const effect of this.#effects.collect()) this.#changes.push(['effect', effect]);
  }

  #write(part: Part): void {
    if (part === 'transfers') this.#transfers.write((transfer) => insertTransfer(this.#sql, transfer));
    else if (part === 'effects') this.#effects.write((effect) => this.#apply(effect));
    else this.#pending[part].write();
  }

  /** Takes in what an earlier life, or a batch before one that was lost, has left in the journal. */
  #recover(): void {
    if (!this.#behind) return;
    const entries = this.#sql.all<{ changes: string }>(selectEntries);
    for (const { changes } of entries) {
      for (const entry of JSON.parse(changes) as Entry[]) this.#replay(entry);
    }
    if (entries.length > 0) {
      this.#sql.run(deleteEntries);
      for (const kept of this.#allKept()) kept.clear();
      this.#indexed = false;
    }
    this.#entries = 0;
    this.#behind = false;
  }

  #replay([kind, what]: Entry): void {
    if (kind === 'transfer') insertTransfer(this.#sql, { ...what, amount: BigInt(what.amount) });
    else if (kind === 'effect') this.#apply(what);
    else this.#replayRow(kind, what);
  }

  #replayRow<T extends TableName>(name: T, stored: Fields): void {
    const io = this.#io[name];
    const fields = fieldsOf(name, stored);
    const key = tables[name].key.map(({ field }) => String(fields[field]));
    const base = io.get(...key);
    io.write({ ...base, ...fields } as Rows[T], base);
  }

  #findLastTransfer(): number {
    return this.#sql.get<{ id: number | null }>('SELECT max(id) AS id FROM transfers')?.id ?? 0;
  }

  #apply(effect: Effect): void {
    if (effect.kind === 'publish') this.#sql.run(publishOutputs, effect.unit);
    else for (const block of effect.blocks) this.#sql.run(insertOutput, effect.unit, block);
  }

  #search(search: Search): readonly Cid[] {
    switch (search.kind) {
      case 'work': {
        const isTaken = (cid: Cid) => this.#hasActive(cid, search.contributor, search.owner);
        return this.#queue.from(search.random, search.window, search.most, isTaken);
      }
      case 'due':
        return this.#due.before(search.before, search.most);
      case 'touched':
        this.#collect();
        for (const part of ['units', 'replicas'] as const) this.#write(part);
        return this.#sql
          .all<{ unit: Cid }>(selectTouched, search.contributor, search.after, search.most)
          .map((row) => row.unit);
    }
  }

  #hasActive(cid: Cid, contributor: Hex, owner: Hex): boolean {
    if (this.#lists.find(cid) === undefined) this.#readAhead(cid);
    const list = this.replicas(cid);
    // As most of the queue: nobody has had it.
    if (list.length === 0) return false;
    const attempt = this.unit(cid)?.attempt;
    return list.some(
      (replica) =>
        replica.attempt === attempt &&
        (replica.contributor === contributor || replica.owner === owner) &&
        !mayTryAgain(replica.state),
    );
  }

  /** Units are looked at in the order of the queue, so those that follow are read with one that is not kept. */
  #readAhead(from: Cid): void {
    const queue = this.unit(from)?.queue;
    if (queue === undefined) return;
    const fresh = this.#io.units
      .all(`${whereAhead} LIMIT ${aheadMax}`, queue)
      .filter(({ cid }) => this.#lists.find(cid) === undefined);
    const lists = new Map<Cid, ReplicaRow[]>(fresh.map(({ cid }) => [cid, []]));
    for (const row of this.#io.replicas.all(whereUnits, JSON.stringify([...lists.keys()]))) {
      lists.get(row.unit)?.push(row);
      this.#unitOf.set(row.assignment, row.unit);
    }
    for (const row of fresh) this.#units.get(row.cid, () => row);
    for (const [cid, list] of lists) this.#lists.set(cid, list);
  }

  unit(cid: Cid): UnitRow | null {
    return this.#units.get(cid, (missing) => this.#io.units.get(missing));
  }

  replicas(unit: Cid): readonly ReplicaRow[] {
    return this.#lists.get(unit, (missing) => {
      const rows = this.#io.replicas.all('WHERE unit = ? ORDER BY attempt, rowid', missing);
      for (const { assignment } of rows) this.#unitOf.set(assignment, missing);
      return rows;
    });
  }

  replica(assignment: Hex): ReplicaRow | null {
    const unit =
      this.#unitOf.find(assignment) ?? this.#sql.get<{ unit: Cid }>(selectUnitOf, assignment)?.unit;
    if (!unit) return null;
    return this.replicas(unit).find((row) => row.assignment === assignment) ?? null;
  }

  contributor(address: Hex): Rows['contributors'] | null {
    return this.#contributors.get(address, (missing) => this.#io.contributors.get(missing));
  }

  device(contributor: Hex, device: string): Rows['devices'] | null {
    return this.#devices.get(deviceKey(contributor, device), () => this.#io.devices.get(contributor, device));
  }

  account(id: string): Rows['accounts'] | null {
    return this.#accounts.get(id, (missing) => this.#io.accounts.get(missing));
  }

  openReplicas(contributor: Hex): readonly ReplicaRow[] {
    return this.#openOf(contributor).map((assignment) => this.replica(assignment) as ReplicaRow);
  }

  #openOf(contributor: Hex): readonly Hex[] {
    return this.#open.get(contributor, (missing) =>
      this.#sql.all<{ assignment: Hex }>(selectOpen, missing).map((row) => row.assignment),
    );
  }

  put<T extends TableName>(table: T, row: Rows[T]): void {
    switch (table) {
      case 'units':
        return this.#putUnit(row as UnitRow);
      case 'replicas':
        return this.#putReplica(row as ReplicaRow);
      case 'contributors': {
        const { address } = row as Rows['contributors'];
        const old = this.contributor(address);
        this.#pending.contributors.note(address, old);
        return this.#putPlain(this.#contributors, address, row, old);
      }
      case 'devices': {
        const { contributor, device } = row as Rows['devices'];
        const old = this.device(contributor, device);
        this.#pending.devices.note(deviceKey(contributor, device), old);
        return this.#putPlain(this.#devices, deviceKey(contributor, device), row, old);
      }
      case 'accounts': {
        const { id } = row as Rows['accounts'];
        const old = this.account(id);
        this.#pending.accounts.note(id, old);
        return this.#putPlain(this.#accounts, id, row, old);
      }
    }
  }

  #putPlain<K>(kept: Kept<K, unknown>, key: K, row: unknown, old: unknown): void {
    kept.set(key, row);
    this.#journal.push(() => kept.set(key, old));
  }

  #putUnit(row: UnitRow): void {
    const { cid } = row;
    const old = this.unit(cid);
    this.#pending.units.note(cid, old);
    this.#setUnit(cid, row);
    this.#journal.push(() => this.#setUnit(cid, old));
  }

  #setUnit(cid: Cid, row: UnitRow | null): void {
    this.#units.set(cid, row);
    this.#index(cid, row);
  }

  #index(cid: Cid, row: UnitRow | null): void {
    this.#queue.set(cid, row && row.wanted > 0 && !row.paused ? row.queue : null);
    this.#due.set(cid, row?.dueAt ?? null);
  }

  #putReplica(row: ReplicaRow): void {
    const { assignment, contributor, unit } = row;
    const list = this.replicas(unit);
    const open = this.#openOf(contributor);
    const old = list.find((each) => each.assignment === assignment) ?? null;
    this.#pending.replicas.note(assignment, old);
    // Lists are replaced, never changed: an operation may be walking one.
    this.#lists.set(unit, old ? list.map((each) => (each === old ? row : each)) : [...list, row]);
    this.#unitOf.set(assignment, unit);
    const isListed = old !== null && isOpen(old.state);
    if (isListed && !isOpen(row.state))
      this.#open.set(
        contributor,
        open.filter((each) => each !== assignment),
      );
    else if (!isListed && isOpen(row.state)) this.#open.set(contributor, [...open, assignment]);
    this.#journal.push(() => {
      this.#lists.set(unit, list);
      this.#open.set(contributor, open);
    });
  }

  post(transfer: NewTransfer): void {
    this.#transfers.push({ ...transfer, id: 0, at: this.now });
    this.#journal.push(() => this.#transfers.pop());
    this.#add(transfer.debit, -transfer.amount);
    this.#add(transfer.credit, transfer.amount);
  }

  #add(id: string, amount: bigint): void {
    this.put('accounts', { id, balance: (this.account(id)?.balance ?? 0n) + amount });
  }

  attach(unit: Cid, blocks: readonly Cid[]): void {
    this.#effect({ kind: 'attach', unit, blocks });
  }

  publish(unit: Cid): void {
    this.#effect({ kind: 'publish', unit });
  }

  #effect(effect: Effect): void {
    this.#effects.push(effect);
    this.#journal.push(() => this.#effects.pop());
  }
}

const insertEntry = 'INSERT INTO journal (id, changes) VALUES (?, ?)';
const selectEntries = 'SELECT changes FROM journal ORDER BY id';
const deleteEntries = 'DELETE FROM journal';
const whereAhead = 'WHERE queue >= ? AND wanted > 0 AND paused = 0 ORDER BY queue';
const whereUnits = 'WHERE unit IN (SELECT value FROM json_each(?)) ORDER BY attempt, rowid';
const selectUnsealed = 'SELECT 1 FROM transfers WHERE seq IS NULL LIMIT 1';
const insertOutput = 'INSERT OR IGNORE INTO outputs (unit, cid) VALUES (?, ?)';
const publishOutputs = 'INSERT OR IGNORE INTO blocks (cid) SELECT cid FROM outputs WHERE unit = ?';
const selectUnitOf = 'SELECT unit FROM replicas WHERE assignment = ?';
const selectOpen =
  "SELECT assignment FROM replicas WHERE contributor = ? AND state IN ('leased', 'committed', 'revealed') ORDER BY rowid";
const selectTouched =
  "SELECT DISTINCT r.unit FROM replicas r JOIN units u ON u.cid = r.unit WHERE r.contributor = ? AND r.state = 'agreed' AND r.unit > ? AND u.phase = 'accepted' ORDER BY r.unit LIMIT ?";

function deviceKey(contributor: Hex, device: string): string {
  return `${contributor}/${device}`;
}
