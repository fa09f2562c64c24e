/**
 * Everything that can be said without running the program: types, components, lint, format, Solidity's lint, house style, arrows, and that the page builds.
 * Each check counts as one test.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { buildPage } from './build-page.ts';
import { checkImports } from './imports.ts';
import { root, runTool, type ToolOutcome } from './run-tool.ts';
import type { Finding } from './source-files.ts';
import { tidy } from './tidy.ts';

export interface StaticCheck {
  name: string;
  /** What to do about a failure, when it is more than reading it. */
  remedy?: string;
  run(): Promise<ToolOutcome>;
}

const ofFindings = (findings: Finding[]): ToolOutcome => ({
  ok: findings.length === 0,
  output: findings.map((f) => `${f.file}:${f.line} ${f.message}`).join('\n'),
});

/** The slow ones first, so that two at a time end together. */
export const staticChecks: readonly StaticCheck[] = [
  { name: 'types (TypeScript 7)', run: checkTypes },
  {
    name: 'components (svelte-check)',
    run: () =>
      runTool('svelte-check', ['--workspace', 'web', '--tsconfig', './tsconfig.json', '--output', 'human']),
  },
  {
    name: 'format (prettier)',
    remedy: 'npm run fmt',
    run: () => runTool('prettier', ['--check', '--log-level', 'warn', '.']),
  },
  {
    name: 'solidity (solhint)',
    run: () =>
      runTool('solhint', [
        '--noPoster',
        '--disc',
        '-w',
        '0',
        '-c',
        'contracts/.solhint.json',
        'contracts/**/*.sol',
      ]),
  },
  { name: 'lint (oxlint)', run: () => runTool('oxlint', ['--deny-warnings', '--format', 'unix']) },
  { name: 'house style (tidy)', run: async () => ofFindings(tidy(root)) },
  { name: 'arrows and cycles (imports)', run: async () => ofFindings(checkImports(root)) },
  {
    name: 'the page builds (vite)',
    run: () => buildPage().then(() => ({ ok: true, output: '' }), failed),
  },
];

/** The contracts' tests are typed by what Hardhat generates, so that comes first where it is missing. */
async function checkTypes(): Promise<ToolOutcome> {
  if (!existsSync(path.join(root, 'contracts/artifacts/artifacts.d.ts'))) {
    const built = await runTool('hardhat', ['build'], { HARDHAT_DISABLE_TELEMETRY: 'true' });
    if (!built.ok) return built;
  }
  // On one thread, for half the CPU time: another check runs beside it (decision 0020).
  return runTool('typescript-7/tsc', ['--singleThreaded', '-p', '.']);
}

function failed(error: unknown): ToolOutcome {
  return { ok: false, output: error instanceof Error ? error.message : String(error) };
}
