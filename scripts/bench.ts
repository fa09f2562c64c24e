/**
 * `npm run bench -- SUITE [--json]`: measures one suite and ends with one JSON document on stdout. A suite is a folder of bench/ with a `suite.ts` that
 * exports `run`; readable lines go to stderr. Speed is measured here and nowhere else: no test asserts a time.
 */
import { existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './run-tool.ts';

/** One line of a Reach table: a median or a ratio of medians of one run, and what it has to reach. */
export interface BenchRow {
  id: string;
  value: number;
  unit: string;
  /** The bound that `ok` is about: one of the two. */
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
}

/** What `bench/<suite>/suite.ts` exports as `run`. */
export type Suite = (say: (line: string) => void) => Promise<BenchOutcome>;

const folder = path.join(root, 'bench');
const fileOf = (name: string) => path.join(folder, name, 'suite.ts');

function suites(): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(fileOf(name)));
}

async function main(words: string[]): Promise<number> {
  const known = suites();
  const list = known.length > 0 ? `There are: ${known.join(', ')}.` : 'There is none yet.';
  if (words.includes('--help')) {
    console.log(`npm run bench -- SUITE [--json]\n\n${list}`);
    return 0;
  }
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const names = words.filter((word) => word !== '--json');
  const [name] = names;
  if (name === undefined || names.length > 1 || !known.includes(name)) {
    say(name === undefined ? `Name a suite. ${list}` : `There is no suite ${names.join(' ')}. ${list}`);
    return 2;
  }
  const { run } = (await import(pathToFileURL(fileOf(name)).href)) as { run: Suite };
  const { device, versions, rows } = await run(say);
  const cpu = `${os.cpus()[0]?.model ?? 'unknown CPU'}, ${os.availableParallelism()} cores`;
  const document = {
    suite: name,
    device: `${device}; ${cpu}`,
    versions: { node: process.version, ...versions },
    date: new Date().toISOString(),
    rows,
  };
  process.stdout.write(`${JSON.stringify(document)}\n`);
  return rows.every((row) => row.ok) ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
