/**
 * A conformance run as one shareable JSON document: what machine, which versions, which suite, and for every case and backend whether it is the same.
 * Additive changes only under `v: 1`.
 */
import { type BackendReport, type CaseOutcome, opOf } from './conformance-outcome.ts';
import { expectedDigests, suiteDigest } from './conformance-report.ts';

/** One column: a backend that was examined, or why it was not. */
export interface Column {
  id: string;
  title: string;
  report?: BackendReport;
  absent?: string;
}

/** `same`, or what differs. */
export type CaseResult = 'same' | Omit<CaseOutcome, 'id' | 'same'>;

export interface ConformanceDocument {
  v: 1;
  /** The machine, in words. */
  device: string;
  versions: Record<string, string>;
  /** ISO 8601. */
  date: string;
  /** Digest over everything that the suite expects: documents with the same one are of the same suite. */
  suite: string;
  backends: {
    id: string;
    title: string;
    /** What the device calls itself; missing where the backend was not examined. */
    label?: string;
    vendor?: string;
    software?: boolean;
    seconds?: number;
    same?: number;
    different?: number;
    absent?: string;
  }[];
  cases: { id: string; op: string; digest: string; results: Record<string, CaseResult> }[];
}

export interface Machine {
  device: string;
  versions: Record<string, string>;
  date: Date;
}

export function makeDocument(
  columns: readonly Column[],
  { device, versions, date }: Machine,
): ConformanceDocument {
  const found = new Map(
    columns.map((column) => [column.id, new Map(column.report?.outcomes.map((each) => [each.id, each]))]),
  );
  const cases = Object.entries(expectedDigests()).map(([id, digest]) => {
    const results = columns.flatMap((column) => {
      const outcome = found.get(column.id)?.get(id);
      return outcome ? [[column.id, resultOf(outcome)] as const] : [];
    });
    return { id, op: opOf(id), digest, results: Object.fromEntries(results) };
  });
  const backends = columns.map(summarise);
  return { v: 1, device, versions, date: date.toISOString(), suite: suiteDigest(), backends, cases };
}

function resultOf({ same, difference, error }: CaseOutcome): CaseResult {
  if (same) return 'same';
  return { ...(difference ? { difference } : {}), ...(error === undefined ? {} : { error }) };
}

function summarise({ id, title, report, absent }: Column): ConformanceDocument['backends'][number] {
  if (!report) return { id, title, absent: absent ?? 'not examined' };
  const { label, vendor, software } = report.info;
  const same = report.outcomes.filter((outcome) => outcome.same).length;
  const different = report.outcomes.length - same;
  return { id, title, label, vendor, software, seconds: report.seconds, same, different };
}
