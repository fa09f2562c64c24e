/** Units without contents, and ids by number and name, for tests of stores: what a unit computes does not matter to them. */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { defaultRules } from '../consensus/consensus.ts';
import type { UnitRow } from '../record/rows.ts';
import { plannedRow } from '../record/units.ts';
import type { NewUnit } from '../storage/port.ts';

export const hex = (n: number, bytes = 32): Hex => `0x${n.toString(16).padStart(2 * bytes, '0')}`;
export const cidOf = (text: string): Cid => cidOfSync(new TextEncoder().encode(text), rawCode);
export const job = cidOf('job');
export const programs: ReadonlySet<string> = new Set(['p@1']);

export function unit(n: number, round = 1): NewUnit {
  const bytes = new TextEncoder().encode(`unit ${n}`);
  const slot = { round, kind: 'train' as const, lane: n };
  return { slot, cid: cidOf(`unit ${n}`), bytes, program: 'p@1', operations: 1_000, blocks: [] };
}

/** The same as a row, at its own place of the queue. */
export function planned(n: number): UnitRow {
  return plannedRow(job, unit(n), n, 0, defaultRules);
}
