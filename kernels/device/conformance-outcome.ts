/** What a conformance run says, and how it is put into words: no data and no device, so that a page may load it at once. */
import type { DeviceInfo } from '#protocol/messages/frames.ts';

/** The first word that differs among a case's outputs, laid end to end. */
export interface Difference {
  at: number;
  /** Words in all, and how many of them differ. */
  of: number;
  count: number;
  /** Bits, as `0x` and eight digits. */
  expected: string;
  got: string;
}

/** One case on one backend. `difference` or `error` says what is wrong where it is not the same. */
export interface CaseOutcome {
  id: string;
  same: boolean;
  difference?: Difference;
  error?: string;
}

/** One backend's whole answer. */
export interface BackendReport {
  info: DeviceInfo;
  seconds: number;
  outcomes: readonly CaseOutcome[];
}

/** The op that a case is about. */
export const opOf = (id: string): string => id.split('/')[0] ?? id;

export interface OpSummary {
  op: string;
  total: number;
  failures: CaseOutcome[];
}

/** Outcomes by op, in the order in which ops come. */
export function byOp(outcomes: readonly CaseOutcome[]): OpSummary[] {
  const ops = new Map<string, OpSummary>();
  for (const outcome of outcomes) {
    const op = opOf(outcome.id);
    const summary = ops.get(op) ?? { op, total: 0, failures: [] };
    summary.total++;
    if (!outcome.same) summary.failures.push(outcome);
    ops.set(op, summary);
  }
  return [...ops.values()];
}

const view = new DataView(new ArrayBuffer(4));

/** Bits with what they mean as a float and as a whole number: `0x3f800000 (1, or 1065353216)`. */
export function bitsInWords(bits: string): string {
  view.setUint32(0, Number(bits));
  return `${bits} (${view.getFloat32(0)}, or ${view.getInt32(0)})`;
}
