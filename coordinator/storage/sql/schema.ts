/**
 * The tables as Kysely sees them, the same in SQLite and PostgreSQL. Those of the record follow from `record/rows.ts`; the others are written
 * here. `boolean` is 0 and 1, an amount of credit a decimal string in PostgreSQL (numeric) and SQLite (text) alike.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Generated, Kysely } from 'kysely';
import type { Hex } from 'viem';
import type { SlotKind } from '../../planner/plan.ts';
import type { Rows, Transfer } from '../../record/rows.ts';
import type { StoredRow } from '../../record/tables.ts';
import type { ShelfRecord } from '../shelf.ts';

export type { StoredRow };

interface JobsTable {
  id: Cid;
  bytes: Uint8Array;
  initial: Cid;
  /** 1 while it is worked on, 0 at rest, -1 cancelled. */
  active: number;
  unigram_entropy: number;
  source_entropy: number | null;
  created_at: number;
  /** Its share of the network, 1 for an ordinary one, and where its last unit stands in the fair queue. */
  weight: number;
  finish: number;
}

interface SlotsTable {
  job: Cid;
  round: number;
  kind: SlotKind;
  lane: number;
  unit: Cid;
}

interface RoundsTable {
  job: Cid;
  round: number;
  root: Hex;
  checkpoint: Cid;
  /** JSON of the `RoundSummary`, without its anchor. */
  summary: string;
  closed_at: number;
  tx: Hex | null;
  block_number: number | null;
}

/** Append-only; the sealer alone fills in `seq` and `hash`, once. */
interface TransfersTable extends Omit<StoredRow<Transfer>, 'seq'> {
  id: Generated<number>;
  seq: number | null;
  hash: Hex | null;
}

export interface Database {
  meta: { key: string; value: string };
  jobs: JobsTable;
  slots: SlotsTable;
  rounds: RoundsTable;
  blocks: { cid: Cid };
  outputs: { unit: Cid; cid: Cid };
  units: StoredRow<Rows['units']>;
  replicas: StoredRow<Rows['replicas']>;
  contributors: StoredRow<Rows['contributors']>;
  devices: StoredRow<Rows['devices']>;
  accounts: StoredRow<Rows['accounts']>;
  transfers: TransfersTable;
  rewards: { contributor: Hex; amount: string };
  shares: { job: Cid; contributor: Hex; amount: string };
  shelf: StoredRow<ShelfRecord>;
}

export type Db = Kysely<Database>;
export type DialectName = 'sqlite' | 'postgres';
