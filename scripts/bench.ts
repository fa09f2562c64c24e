/**
 * `npm run bench -- SUITE [--json] [--save] [--quick] [--native]`: measures one suite and ends with one JSON document on stdout. A suite is a folder of
 * bench/ with a `suite.ts` that exports `run`; readable lines go to stderr. `--save` keeps the document in bench/results/, and
 * `npm run bench -- readme` writes the newest of each suite into README. Speed is measured here and nowhere else: no test asserts a time.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './run-tool.ts';

/** One line of a Reach table: a median or a ratio of medians of one run, and what it has to reach. */
export interface BenchRow {
  id: string;
  value: number;
  unit: string;
  /** The bound that `ok` is about: one of the two. A row with neither informs, and is not ok when what it is about failed. */
  atLeast?: number;
  atMost?: number;
  /** What is hoped for beyond the bound. */
  aim: number | null;
  ok: boolean;
}

export interface BenchOutcome {
  /** What it ran on, in words. */
  device: string;
  /** Of everything that was measured, peers included. */
  versions: Record<string, string>;
  rows: BenchRow[];
  /** Lines of the Reach table that this machine lacks the means for: why, by id. */
  skipped?: Record<string, string>;
}

export interface SuiteOptions {
  /** Fewer rounds: to see whether all is well, not for figures to quote. */
  quick: boolean;
  /** On Dawn for Node and its adapter instead of a browser. */
  native: boolean;
}

/** What `bench/<suite>/suite.ts` exports as `run`. */
export type Suite = (say: (line: string) => void, options: SuiteOptions) => Promise<BenchOutcome>;

/** What is printed, and kept by `--save`. */
export interface BenchDocument extends BenchOutcome {
  suite: string;
  /** ISO 8601. */
  date: string;
}

const folder = path.join(root, 'bench');
const resultsDir = path.join(folder, 'results');
const fileOf = (name: string) => path.join(folder, name, 'suite.ts');

function suites(): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(fileOf(name)));
}

const flags = ['--json', '--save', '--quick', '--native'];

async function main(words: string[]): Promise<number> {
  const known = suites();
  const list = `There are: ${known.join(', ')}.`;
  if (words.includes('--help')) {
    console.log(`npm run bench -- SUITE [${flags.join('] [')}]\nnpm run bench -- readme\n\n${list}`);
    return 0;
  }
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const names = words.filter((word) => !flags.includes(word));
  const [name] = names;
  if (name === 'readme' && names.length === 1) {
    const { writeReadme } = await import('./bench-readme.ts');
    say(writeReadme() ? 'README is new' : 'README was up to date');
    return 0;
  }
  if (name === undefined || names.length > 1 || !known.includes(name)) {
    say(name === undefined ? `Name a suite. ${list}` : `There is no suite ${names.join(' ')}. ${list}`);
    return 2;
  }
  const options = { quick: words.includes('--quick'), native: words.includes('--native') };
  if (options.quick && words.includes('--save')) {
    say('--quick is not for figures to keep: leave --save out.');
    return 2;
  }
  const { run } = (await import(pathToFileURL(fileOf(name)).href)) as { run: Suite };
  const document = documentOf(name, await run(say, options));
  if (words.includes('--save')) say(`kept as ${save(document, options.native)}`);
  for (const row of document.rows) if ('atLeast' in row || 'atMost' in row || !row.ok) say(describe(row));
  for (const [id, why] of Object.entries(document.skipped ?? {})) say(`skipped ${id}: ${why}`);
  process.stdout.write(`${JSON.stringify(document)}\n`);
  return document.rows.every((row) => row.ok) ? 0 : 1;
}

function documentOf(suite: string, outcome: BenchOutcome): BenchDocument {
  const { device, versions, rows, skipped } = outcome;
  const cpu = `${os.cpus()[0]?.model ?? 'unknown CPU'}, ${os.availableParallelism()} cores`;
  return {
    suite,
    device: `${device}; ${cpu}`,
    versions: { node: process.version, ...versions },
    date: new Date().toISOString(),
    rows,
    ...(skipped && Object.keys(skipped).length > 0 ? { skipped } : {}),
  };
}

/** Into bench/results/<suite>-<date>.json; a later run of the same day replaces it. */
function save(document: BenchDocument, native: boolean): string {
  const file = `${document.suite}${native ? '-native' : ''}-${document.date.slice(0, 10)}.json`;
  mkdirSync(resultsDir, { recursive: true });
  writeFileSync(path.join(resultsDir, file), `${JSON.stringify(document, null, 2)}\n`);
  return `bench/results/${file}`;
}

function describe({ id, value, unit, atLeast, atMost, aim, ok }: BenchRow): string {
  const bound = atLeast === undefined ? `at most ${atMost}` : `at least ${atLeast}`;
  const wanted = atLeast === undefined && atMost === undefined ? '' : ` (${bound}, aim ${aim})`;
  return `${ok ? 'ok ' : 'NOT'} ${id}: ${value} ${unit}${wanted}`;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
