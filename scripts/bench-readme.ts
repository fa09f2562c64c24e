/**
 * Writes the newest results of bench/results/ into README, between two comments: the table cannot say what was not measured. Run by
 * `npm run bench -- readme`; a test holds README to it.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
// Types only: bench.ts waits for this file at its top level.
import type { BenchDocument, BenchRow } from './bench.ts';
import { root } from './run-tool.ts';

export const resultsDir = path.join(root, 'bench/results');
const [begin, end] = ['<!-- bench: begin (npm run bench -- readme) -->', '<!-- bench: end -->'];

/** The newest document of each suite, by name of the suite. */
function newest(): BenchDocument[] {
  if (!existsSync(resultsDir)) return [];
  const files = readdirSync(resultsDir).filter((name) => /^[a-z][a-z\d-]*-\d{4}-\d\d-\d\d\.json$/.test(name));
  const bySuite = new Map<string, string>();
  for (const name of files.sort()) bySuite.set(name.slice(0, -'-yyyy-mm-dd.json'.length), name);
  return [...bySuite.values()].map(
    (name) => JSON.parse(readFileSync(path.join(resultsDir, name), 'utf8')) as BenchDocument,
  );
}

const bounds = ({ atLeast, atMost }: BenchRow) => (atLeast === undefined ? `<= ${atMost}` : `>= ${atLeast}`);
const isBounded = (row: BenchRow) => row.atLeast !== undefined || row.atMost !== undefined;

/** The text between the two comments. */
export function benchSection(documents: readonly BenchDocument[] = newest()): string {
  const parts = documents.map(({ suite, device, versions, date, rows, skipped = {} }) => {
    const shown = rows.some(isBounded) ? rows.filter(isBounded) : rows;
    const lines = shown.map((row) => {
      const wanted = isBounded(row) ? `${bounds(row)}, aim ${row.aim}` : '';
      const value = row.value === null || Number.isNaN(row.value) ? 'failed' : `${row.value} ${row.unit}`;
      return `| ${row.id} | ${value} | ${wanted} | ${row.ok ? 'yes' : 'NO'} |`;
    });
    const absent = Object.entries(skipped).map(
      ([id, why]) => `| ${id} | not measured: ${firstSentence(why)} | | - |`,
    );
    const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    return [
      `\`${suite}\`, ${date.slice(0, 10)}, on ${device}. ${list.join(', ')}.`,
      '',
      '| measured | value | wanted | met |',
      '| --- | --- | --- | --- |',
      ...lines,
      ...absent,
    ].join('\n');
  });
  return parts.join('\n\n');
}

/** README with that section, whether or not it differs. */
export function readmeWith(readme: string, section: string): string {
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error('README lacks the two comments between which results go.');
  // Prettier would pad the tables, so that every figure changed every line.
  const [ignore, heed] = ['<!-- prettier-ignore-start -->', '<!-- prettier-ignore-end -->'];
  const middle = section === '' ? '\n\n' : `\n\n${ignore}\n${section}\n${heed}\n\n`;
  return readme.slice(0, from + begin.length) + middle + readme.slice(to);
}

/** Returns whether README changed. */
export function writeReadme(): boolean {
  const file = path.join(root, 'README.md');
  const before = readFileSync(file, 'utf8');
  const after = readmeWith(before, benchSection());
  if (after !== before) writeFileSync(file, after);
  return after !== before;
}

/** What follows it says what to do about it, which is for who measures. */
function firstSentence(text: string): string {
  return /^.*?[.!?](?= [A-Z]|$)/.exec(text)?.[0] ?? text;
}
