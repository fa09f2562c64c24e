/**
 * `npm test`: every suite, and one closing line over all of them.
 *
 * Suites, in order: the static checks, the contracts (Hardhat), the unit tests, the end-to-end tests with real browsers. Naming suites or parts of
 * file names runs only those. A Chromium, PostgreSQL, NATS and coturn, which tests need, are found or installed before they begin.
 */
import { runStaticChecks } from './check.ts';
import { findChromium } from './find-chromium.ts';
import { addCounts, type Counts, closingLine, indent, mark, noCounts, seconds } from './report.ts';
import { runTool } from './run-tool.ts';
import { programs, requireProgram } from './services/install.ts';
import { runVitest } from './vitest-suite.ts';

const help = `npm test [-- SUITE or FILTER ...]

Suites: static (types, lint, format, style, arrows, page), contracts (Hardhat), unit, e2e (real browsers, whole networks).
A FILTER is a part of a test file's path, as in: npm test -- kernels/ops/gemm

Ends with "N passed, N failed, N skipped" and exit code 1 when anything failed or nothing ran.`;

/** Reads Hardhat's closing lines: "21 passing (14 solidity, 7 nodejs)", "1 failing", "2 skipped". */
export function countsOfHardhat(output: string): Counts {
  const last = (word: string) => {
    const found = [...output.matchAll(new RegExp(`^\\s*(\\d+) ${word}\\b`, 'gm'))].at(-1);
    return found ? Number(found[1]) : 0;
  };
  return { passed: last('passing'), failed: last('failing'), skipped: last('(?:skipped|pending)') };
}

async function runContracts(): Promise<Counts> {
  const startedAt = performance.now();
  const { ok, output } = await runTool('hardhat', ['test'], { HARDHAT_DISABLE_TELEMETRY: 'true' });
  const counts = countsOfHardhat(output);
  // Hardhat that fails without a failing test could not compile.
  if (!ok && counts.failed === 0) counts.failed = 1;
  const fine = ok && counts.passed > 0;
  console.log(`${mark(fine ? 'ok' : 'FAIL')} ${seconds(performance.now() - startedAt)}  contracts (hardhat)`);
  if (!fine) console.log(indent(output, 200));
  return counts;
}

/** Test files run side by side, and two of them must not install the same thing at once. What is wrong with it is said by those that need it. */
async function runTests(project: 'unit' | 'e2e', filters: string[] = []): Promise<Counts> {
  await findChromium().catch(() => undefined);
  for (const program of Object.values(programs)) await requireProgram(program).catch(() => undefined);
  return runVitest(project, filters);
}

const suites = {
  static: () => runStaticChecks(),
  contracts: runContracts,
  unit: () => runTests('unit'),
  e2e: () => runTests('e2e'),
} satisfies Record<string, () => Promise<Counts>>;
type SuiteName = keyof typeof suites;

const isSuite = (word: string): word is SuiteName => Object.hasOwn(suites, word);

async function main(words: string[]): Promise<number> {
  const named = words.filter(isSuite);
  const filters = words.filter((word) => !isSuite(word));
  const runs: [string, () => Promise<Counts>][] =
    filters.length > 0
      ? (['unit', 'e2e'] as const).map((project) => [project, () => runTests(project, filters)])
      : (Object.keys(suites) as SuiteName[])
          .filter((name) => named.length === 0 || named.includes(name))
          .map((name) => [name, suites[name]]);
  const total = noCounts();
  const summary: string[] = [];
  for (const [name, run] of runs) {
    const startedAt = performance.now();
    console.log(`\n${name}`);
    const counts = await run();
    addCounts(total, counts);
    summary.push(
      `${seconds(performance.now() - startedAt)}  ${name}: ${closingLine(counts).replaceAll(',', '')}`,
    );
  }
  console.log(`\n${summary.join('\n')}`);
  const ran = total.passed + total.failed;
  if (ran === 0) console.log(`No test ran: nothing matches ${words.join(' ')}.`);
  console.log(closingLine(total));
  return total.failed > 0 || ran === 0 ? 1 : 0;
}

if (import.meta.main) {
  const words = process.argv.slice(2);
  if (words.includes('--help')) console.log(help);
  // Exits by itself even if a test left something open: the closing line is the last word.
  else process.exit(await main(words));
}
