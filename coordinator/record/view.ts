/**
 * How the pure operations see the database, and how a database runs them.
 *
 * An operation is synchronous and reads and writes rows through a `View`. SQLite reads on demand; PostgreSQL loads what the hints name for a
 * whole batch at once, throws `Miss` inside the operation for a row that it has not loaded, loads that and runs the operation again; the simulation
 * has everything in maps. An operation that throws leaves nothing behind: what it put is kept only when it returns.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import type { Climate as TrustClimate } from '../trust/types.ts';
import type { NewTransfer, ReplicaRow, Rows, TableName, UnitRow } from './rows.ts';

/** What trust knows of the network, and what the scheduler has to know besides. */
export interface Climate extends TrustClimate {
  /** Network prefixes that contributors are online from. */
  prefixesOnline: number;
}

/** Before anything is known. */
export const calm: Climate = {
  ...{ judged: 0, liars: 0, online: 0, provenOnline: 0, refereesOnline: 0 },
  prefixesOnline: 0,
};

export interface View {
  readonly climate: Climate;
  unit(cid: Cid): UnitRow | null;
  /** All replicas of a unit, of every attempt and purpose, oldest first. */
  replicas(unit: Cid): readonly ReplicaRow[];
  replica(assignment: Hex): ReplicaRow | null;
  contributor(address: Hex): Rows['contributors'] | null;
  device(contributor: Hex, device: string): Rows['devices'] | null;
  account(id: string): Rows['accounts'] | null;
  /** Replicas of a contributor that are leased, committed or revealed, oldest first. */
  openReplicas(contributor: Hex): readonly ReplicaRow[];
  /** Inserts a row, or replaces the one with its key. */
  put<T extends TableName>(table: T, row: Rows[T]): void;
  /** Appends to the ledger; the balances of both accounts follow. */
  post(transfer: NewTransfer): void;
  /** The blocks of a unit's accepted outputs: kept, and served once the unit is no longer sealed. */
  attach(unit: Cid, blocks: readonly Cid[]): void;
  /** What was attached to a unit may be served from now on. */
  publish(unit: Cid): void;
}

/** Units that an operation wants to be shown; they come as its `offered`. */
export type Search =
  /**
   * Units with `wanted` > 0 that are not paused: up to `most` of the first `window` in the order of `queue`, beginning at the random place
   * first + floor(random / 2^32 * window) and going on at the window's start. Those that the owner has an active replica of may be left out.
   */
  | { kind: 'work'; contributor: Hex; owner: Hex; random: number; window: number; most: number }
  /** Units whose `dueAt` is before `before`, the most overdue first. Another process may have some of them in hand: they are left out. */
  | { kind: 'due'; before: number; most: number }
  /** Accepted units of which the contributor has an `agreed` replica, by unit id, after `after`. */
  | { kind: 'touched'; contributor: Hex; after: Cid; most: number };

/** What an operation will read, as far as is known before it runs. A hint that is missing costs time, never correctness. */
export interface Hints {
  assignments?: readonly Hex[];
  units?: readonly Cid[];
  contributors?: readonly Hex[];
  accounts?: readonly string[];
  /** Contributors whose open replicas will be read. */
  open?: readonly Hex[];
  search?: Search;
}

export interface Operation<T> {
  hints: Hints;
  /** `offered`: what the search found; empty without one. Its rows are read through the view, since an earlier operation may have changed them. */
  run(view: View, offered: readonly Cid[]): T;
}

/** Runs operations in order, many to a transaction; a promise resolves once what it did is durable. */
export interface Engine {
  run<T>(operation: Operation<T>): Promise<T>;
}

/** Thrown by a view that has not loaded a row; the engine loads it and runs the operation again. */
export class Miss extends Error {
  readonly hints: Hints;

  constructor(hints: Hints) {
    super('a row was not loaded');
    this.hints = hints;
  }
}
