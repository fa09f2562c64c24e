/**
 * `npm run bench -- SUITE...`: measures, and ends with one line of JSON on stdout. A suite is a folder of bench/ with a `suite.ts` that exports `run`;
 * readable lines go to stderr. Speed is measured here and nowhere else: no test asserts a time.
 */
import { existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './run-tool.ts';

/** One figure: what was measured, on what, how often, and the peer measured in the same run where there is one. */
export interface Figure {
  name: string;
  device: string;
  shape: string;
  /** Of `median` and `p95`, such as `ms` or `tokens/s`. */
  unit: string;
  warmUp: number;
  runs: number;
  median: number;
  p95: number;
  peer?: { name: string; median: number; p95: number };
}

/** What `bench/<suite>/suite.ts` exports as `run`. */
export type Suite = (say: (line: string) => void) => Promise<Figure[]>;

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
    console.log(`npm run bench -- SUITE...\n\n${list}`);
    return 0;
  }
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const unknown = words.find((word) => !known.includes(word));
  if (unknown !== undefined || words.length === 0) {
    say(unknown === undefined ? `Name a suite. ${list}` : `There is no suite ${unknown}. ${list}`);
    return 2;
  }
  const machine = {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    node: process.version,
  };
  const results: Record<string, Figure[]> = {};
  for (const name of words) {
    const { run } = (await import(pathToFileURL(fileOf(name)).href)) as { run: Suite };
    results[name] = await run(say);
  }
  process.stdout.write(`${JSON.stringify({ machine, suites: results })}\n`);
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
