/** The words of the page `/conformance`: states, cells, failures. */
import { bitsInWords, type CaseOutcome, type OpSummary } from '#workers/browser/conformance.ts';
import type { ConformanceState, Examined } from '../state/conformance.svelte.ts';
import { count, plural } from './format.ts';

/** Where one backend is, in one sentence. */
export function stageWords({ stage, done, total, failures, report, reason }: Examined): string {
  switch (stage) {
    case 'waiting':
      return 'Waits for its turn.';
    case 'running':
      return total === 0
        ? 'Starts.'
        : `${count(done)} of ${count(total)} cases${failures > 0 ? `, ${differWords(failures)}` : ''}.`;
    case 'done':
      return failures === 0
        ? `All ${count(total)} cases give the reference's bits, in ${report?.seconds ?? 0} s.`
        : `${count(failures)} of ${plural(total, 'case')} ${failures === 1 ? 'differs' : 'differ'}, in ${report?.seconds ?? 0} s.`;
    case 'absent':
    case 'failed':
      return reason;
    case 'stopped':
      return total === 0 ? 'Stopped.' : `Stopped after ${count(done)} of ${count(total)} cases.`;
  }
}

function differWords(failures: number): string {
  return `${plural(failures, 'case')} ${failures === 1 ? 'differs' : 'differ'}`;
}

/** One cell: an op on a backend. */
export function cellWords(summary: OpSummary | undefined): string {
  if (!summary) return '–';
  const { total, failures } = summary;
  return failures.length === 0
    ? `${count(total)} same`
    : `${count(failures.length)} of ${count(total)} differ`;
}

/** What differs first, in one sentence. */
export function failureWords({ difference, error }: CaseOutcome): string {
  if (!difference) return error ?? 'Differs.';
  const { at, of, count: many, expected, got } = difference;
  return (
    `${count(many)} of ${plural(of, 'element')} ${many === 1 ? 'differs' : 'differ'}. The first is element ${count(at)}: ` +
    `expected ${bitsInWords(expected)}, got ${bitsInWords(got)}.`
  );
}

/** For screen readers: which backend has begun or ended, not every case. */
export function runWords({ examined, running }: Pick<ConformanceState, 'examined' | 'running'>): string {
  const ended = examined.filter(({ stage }) => stage !== 'waiting' && stage !== 'running');
  const now = examined.find(({ stage }) => stage === 'running');
  const words = ended.map((each) => `${each.title}: ${stageWords(each)}`);
  if (running && now) words.push(`${now.title} is being examined.`);
  return words.join(' ');
}
