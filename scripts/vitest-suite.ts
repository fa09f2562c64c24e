/**
 * Runs a Vitest project in this process and reports it in lines: one a file as it ends, every failure with what it said, every skipped test
 * with its reason. Vitest's own reporters leave out the reasons.
 */
import path from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { startVitest } from 'vitest/node';
import { type Counts, indent, mark, noCounts, seconds } from './report.ts';
import { root } from './run-tool.ts';

export interface SuiteOutcome extends Counts {
  files: number;
}

type Failure = { message: string; stack?: string | undefined; diff?: unknown; name?: string | undefined };

class LineReporter implements Reporter {
  readonly outcome: SuiteOutcome = { ...noCounts(), files: 0 };

  onTestModuleEnd(module: TestModule): void {
    const tests = [...module.children.allTests()];
    const failed = tests.filter((test) => test.result().state === 'failed');
    // A file that cannot be loaded, or a hook that throws, is a failure of its own.
    const faults = [
      ...module.errors(),
      ...[...module.children.allSuites()].flatMap((suite) => suite.errors()),
    ];
    const skipped = tests.filter((test) => test.result().state === 'skipped');
    this.outcome.files += 1;
    this.outcome.passed += tests.filter((test) => test.result().state === 'passed').length;
    this.outcome.failed += failed.length + faults.length;
    this.outcome.skipped += skipped.length;

    const ok = failed.length + faults.length === 0 && module.ok();
    const { duration, collectDuration } = module.diagnostic();
    const count = `${tests.length} ${tests.length === 1 ? 'test' : 'tests'}`;
    const name = path.relative(root, module.moduleId);
    console.log(`${mark(ok ? 'ok' : 'FAIL')} ${seconds(duration + collectDuration)}  ${name} (${count})`);
    for (const fault of faults) printFailure('outside of the tests', [fault]);
    for (const test of failed) printFailure(test.fullName, test.result().errors ?? []);
    for (const test of skipped) console.log(`${mark('skip')}           ${test.fullName}: ${reasonOf(test)}`);
  }

  onTestRunEnd(_modules: readonly TestModule[], errors: readonly Failure[]): void {
    this.outcome.failed += errors.length;
    for (const error of errors) printFailure('an error nobody caught', [error]);
  }
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  const note = result.state === 'skipped' ? result.note : undefined;
  return note ?? (test.options.mode === 'todo' ? 'to be written' : 'no reason given');
}

function printFailure(name: string, errors: readonly Failure[]): void {
  console.log(`   x ${name}`);
  for (const error of errors) {
    const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
    const own = frames.filter((line) => !/node_modules|node:|<anonymous>/.test(line));
    const parts = [`${error.name ?? 'Error'}: ${error.message}`];
    if (typeof error.diff === 'string') parts.push(error.diff);
    console.log(indent([...parts, ...own.slice(0, 5)].join('\n').replaceAll(`${root}/`, '')));
  }
}

/** Runs one project over the files whose path contains one of `filters` (all without any). */
export async function runVitest(project: string, filters: string[] = []): Promise<SuiteOutcome> {
  const reporter = new LineReporter();
  const vitest = await startVitest(filters, {
    root,
    project: [project],
    reporters: [reporter],
    watch: false,
    passWithNoTests: true,
  });
  await vitest.close();
  return reporter.outcome;
}
