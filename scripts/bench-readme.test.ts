/** README's table is the committed results', whatever they are. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import type { BenchDocument } from './bench.ts';
import { benchSection, readmeWith, resultsDir } from './bench-readme.ts';
import { root } from './run-tool.ts';

const document: BenchDocument = {
  suite: 'kernel',
  device: 'a device',
  versions: { node: 'v24' },
  date: '2026-01-02T03:04:05Z',
  rows: [
    { id: 'speed', value: 2, unit: 'x', atLeast: 1.3, aim: 2.2, ok: true },
    { id: 'memory', value: 6, unit: 'GB', atMost: 5, aim: 3, ok: false },
    { id: 'peer', value: 1, unit: 'GOP/CPU-s', aim: null, ok: true },
  ],
};

it('shows the lines with a bound, and says which is not met', () => {
  const section = benchSection([document]);
  expect(section).toContain('`kernel`, 2026-01-02, on a device. node v24.');
  expect(section).toContain('| speed | 2 x | >= 1.3, aim 2.2 | yes |');
  expect(section).toContain('| memory | 6 GB | <= 5, aim 3 | NO |');
  expect(section).not.toContain('peer');
});

it('shows a failed measurement as failed', () => {
  // What JSON makes of NaN.
  const row = {
    ...(document.rows[0] as BenchDocument['rows'][0]),
    value: null as unknown as number,
    ok: false,
  };
  expect(benchSection([{ ...document, rows: [row] }])).toContain('| speed | failed | >= 1.3, aim 2.2 | NO |');
});

it('finds README as `npm run bench -- readme` writes it', () => {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  expect(readme).toBe(readmeWith(readme, benchSection()));
});

it('leaves no suite with results out', () => {
  const section = benchSection();
  for (const file of readdirSync(resultsDir)) {
    const { suite } = JSON.parse(readFileSync(path.join(resultsDir, file), 'utf8')) as BenchDocument;
    expect(section).toContain(`\`${suite}\`, `);
  }
});
