/** A conformance run as text: op by backend, and below it every case that is not the same, with its first differing element. */
import type { Column } from '#kernels/device/conformance-document.ts';
import { bitsInWords, byOp, type CaseOutcome } from '#kernels/device/conformance-outcome.ts';

/** Failures that are written out for one backend. */
const failuresMax = 20;

export function tableOf(columns: readonly Column[]): string[] {
  const examined = columns.filter((column) => column.report);
  const summaries = examined.map(
    ({ report }) => new Map(byOp(report?.outcomes ?? []).map((each) => [each.op, each])),
  );
  const ops = [...new Set(summaries.flatMap((summary) => [...summary.keys()]))];
  const rows = [
    ['op', 'cases', ...examined.map(({ id }) => id)],
    ...ops.map((op) => {
      const cells = summaries.map((summary) => {
        const found = summary.get(op);
        if (!found) return '-';
        return found.failures.length === 0 ? 'same' : `${found.failures.length} DIFFER`;
      });
      return [op, String(Math.max(...summaries.map((summary) => summary.get(op)?.total ?? 0))), ...cells];
    }),
  ];
  return [
    ...(ops.length > 0 ? aligned(rows) : []),
    '',
    ...examined.flatMap((column) => failuresOf(column)),
    ...columns.filter(({ absent }) => absent).map(({ id, absent }) => `${id}: not examined. ${absent}`),
  ];
}

function aligned(rows: readonly string[][]): string[] {
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function failuresOf({ id, report }: Column): string[] {
  const failures = report?.outcomes.filter((outcome) => !outcome.same) ?? [];
  const lines = failures.slice(0, failuresMax).map((outcome) => `${id}: ${failureInWords(outcome)}`);
  const rest = failures.length - lines.length;
  return rest > 0 ? [...lines, `${id}: and ${rest} more`] : lines;
}

/** What differs first, in one sentence. */
export function failureInWords({ id, difference, error }: CaseOutcome): string {
  if (!difference) return `${id}: ${error ?? 'differs'}`;
  const { at, of, count, expected, got } = difference;
  return (
    `${id}: ${count} of ${of} elements differ, the first is ${at}: ` +
    `expected ${bitsInWords(expected)}, got ${bitsInWords(got)}`
  );
}
