/** Lines of the test and check commands: durations, indented excerpts, colours on a terminal only. */
import { stripVTControlCharacters, styleText } from 'node:util';

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

export const noCounts = (): Counts => ({ passed: 0, failed: 0, skipped: 0 });

export function addCounts(to: Counts, more: Counts): void {
  to.passed += more.passed;
  to.failed += more.failed;
  to.skipped += more.skipped;
}

/** The line that closes a run; CI reads it. */
export function closingLine(counts: Counts): string {
  return `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`.padStart(8);
}

const colours = { ok: 'green', FAIL: 'red', skip: 'yellow' } as const;

export function mark(state: keyof typeof colours): string {
  const text = state.padEnd(4);
  return process.stdout.isTTY ? styleText(colours[state], text) : text;
}

export function indent(text: string, linesMax = 60): string {
  const plain = process.stdout.isTTY ? text : stripVTControlCharacters(text);
  const lines = plain.trim().split('\n');
  const shown =
    lines.length > linesMax
      ? [...lines.slice(0, linesMax), `... ${lines.length - linesMax} more lines`]
      : lines;
  return shown.map((line) => `      ${line}`).join('\n');
}
