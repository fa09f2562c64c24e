/**
 * What bench/node is made of: measures. Each names its lines of the Reach table and gives their values, or says why they cannot be had on this machine;
 * one that throws has failed, and so have its lines. suite.ts holds the list.
 */
import { codeOf } from '#protocol/errors.ts';
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { bounded } from '../rig/duel.ts';

/** A line of the Reach table without its value. */
export type Reach = { id: string; unit: string; aim: number } & ({ atLeast: number } | { atMost: number });

export interface Measured {
  /** By id of `reach`. */
  values?: Readonly<Record<string, number>>;
  /** Rows beside those of `reach`. */
  rows?: readonly BenchRow[];
  /** Why lines of `reach` have no value here; without it they failed. */
  skipped?: string;
  /** What it ran on, in words. */
  device?: string;
  versions?: Readonly<Record<string, string>>;
}

export interface Measure {
  name: string;
  reach: readonly Reach[];
  /** A thrown `no_device` skips it. */
  run(say: (line: string) => void, options: SuiteOptions): Promise<Measured>;
}

/** A line with its value. */
export function rowOf({ id, unit, ...bound }: Reach, value: number): BenchRow {
  return bounded(id, value, unit, bound);
}

/** A measure that makes its rows by itself, bounds included. */
export function rowsOnly(
  name: string,
  rows: (say: (line: string) => void, quick: boolean) => Promise<BenchRow[]>,
): Measure {
  return { name, reach: [], run: async (say, { quick }) => ({ rows: await rows(say, quick) }) };
}

/** All measures in turn: what one cannot do keeps no other from its turn. */
export async function runMeasures(
  measures: readonly Measure[],
  say: (line: string) => void,
  options: SuiteOptions,
): Promise<BenchOutcome> {
  const rows: BenchRow[] = [];
  const versions: Record<string, string> = {};
  const skipped: Record<string, string> = {};
  const devices = new Set<string>();
  for (const measure of measures) {
    say(measure.name);
    const result = await measure.run(say, options).catch((error: unknown) => missing(measure, error));
    if (result.skipped !== undefined) say(`  skipped: ${result.skipped}`);
    for (const line of measure.reach) {
      const value = result.values?.[line.id];
      if (value === undefined && result.skipped !== undefined) skipped[line.id] = result.skipped;
      else rows.push(rowOf(line, value ?? NaN));
    }
    for (const row of result.rows ?? []) {
      rows.push(row);
      if (Number.isNaN(row.value)) say(`  ${row.id}`);
    }
    Object.assign(versions, result.versions);
    if (result.device) devices.add(result.device);
  }
  const isBounded = (row: BenchRow) => row.atLeast !== undefined || row.atMost !== undefined;
  return {
    device: [...devices].join('; ') || 'the processor',
    versions,
    rows: [...rows.filter(isBounded), ...rows.filter((row) => !isBounded(row))],
    skipped,
  };
}

/** What stands for a measure that threw: nothing where the device is not here, else a failure with a row that tells. */
function missing({ name }: Measure, error: unknown): Measured {
  const why = (error as Error).message.split('\n')[0] as string;
  if (codeOf(error) === 'no_device') return { skipped: why };
  return { rows: [{ id: `${name} failed: ${why}`, value: NaN, unit: '', aim: null, ok: false }] };
}
