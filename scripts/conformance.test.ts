/** `npm run conformance`: options, table, and one real run with its document. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { ConformanceDocument } from '#kernels/device/conformance-document.ts';
import { parseOptions } from './conformance.ts';
import { tableOf } from './conformance/table.ts';
import { targets } from './conformance/targets.ts';
import { root } from './run-tool.ts';

it('takes the usual backends, all of them, or those that are named', () => {
  const ids = (...args: string[]) => parseOptions(args, '/').chosen.map(({ id }) => id);
  expect(ids()).toEqual(targets.filter(({ usual }) => usual).map(({ id }) => id));
  expect(ids('--all')).toEqual(targets.map(({ id }) => id));
  expect(ids('--backend', 'wasm,reference', '--backend', 'chromium')).toEqual([
    'reference',
    'wasm',
    'chromium',
  ]);
  expect(parseOptions(['--out', 'x.json'], '/base').out).toBe('/base/x.json');
});

it.each([
  [['--backend', 'abacus'], /no backend "abacus". There are: reference, wasm/],
  [['--quick'], /--quick.*--help/],
  [['stray'], /stray.*--help/],
])('refuses %j with words', (args, words) => {
  expect(() => parseOptions(args, '/')).toThrow(
    expect.objectContaining({ code: 'bad_config', message: expect.stringMatching(words) }),
  );
});

it('prints op by backend, what differs first, and what is not here', () => {
  const info = { backend: 'webgpu', label: 'Odd', vendor: '', software: false } as const;
  const difference = { at: 5, of: 64, count: 3, expected: '0x3f800000', got: '0x3f800001' };
  const odd = [
    { id: 'gemm/a', same: true },
    { id: 'gelu/a', same: false, difference },
    { id: 'gelu/b', same: false, error: 'it broke' },
  ];
  const fine = odd.map(({ id }) => ({ id, same: true }));
  const lines = tableOf([
    { id: 'fine', title: '', report: { info, seconds: 1, outcomes: fine } },
    { id: 'odd', title: '', report: { info, seconds: 1, outcomes: odd } },
    { id: 'gone', title: '', absent: 'No driver.' },
  ]);
  expect(lines).toEqual([
    'op    cases  fine  odd',
    'gemm  1      same  same',
    'gelu  2      same  2 DIFFER',
    '',
    'odd: gelu/a: 3 of 64 elements differ, the first is 5: expected 0x3f800000 (1, or 1065353216), got 0x3f800001 (1.0000001192092896, or 1065353217)',
    'odd: gelu/b: it broke',
    'gone: not examined. No driver.',
  ]);
});

it('examines a backend and leaves one document on stdout and in a file', async () => {
  const dir = await mkdtemp(path.join(tmpdir(), 'atoll-conformance-'));
  try {
    const file = path.join(dir, 'out.json');
    const args = ['scripts/conformance.ts', '--backend', 'wasm', '--json', '--out', file];
    const hooks = ['--import', './scripts/raw-hooks.ts'];
    const { stdout } = await promisify(execFile)(process.execPath, [...hooks, ...args], {
      cwd: root,
      maxBuffer: 16 << 20,
    });
    const shown = JSON.parse(stdout) as ConformanceDocument;
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(shown);
    expect(shown).toMatchObject({ v: 1, backends: [{ id: 'wasm', different: 0 }] });
    expect(shown.versions).toMatchObject({ node: process.version });
    expect(shown.cases.every(({ results }) => results['wasm'] === 'same')).toBe(true);
  } finally {
    await rm(dir, { recursive: true });
  }
}, 300_000);
