/** Each rule of tidy catches its fault, lets the neighbouring good case pass, and says where. */
import { describe, expect, test } from 'vitest';
import { tidyFile } from './tidy.ts';

const header = '/** What it is. */\n';
const lines = (count: number) => 'x;\n'.repeat(count);
const messages = (file: string, text: string) => tidyFile(file, text).map((f) => `${f.line}: ${f.message}`);

describe('files', () => {
  test('600 lines pass, 601 do not, vectors may', () => {
    expect(messages('kernels/a.ts', header + lines(599))).toEqual([]);
    expect(messages('kernels/a.ts', header + lines(600))).toEqual(['601: 601 lines; 600 are the most']);
    expect(messages('kernels/vectors/a.ts', header + lines(600))).toEqual([]);
  });

  test('a header comes first', () => {
    const fault = '1: opens without a comment saying what it is';
    expect(messages('web/a.ts', "import './b.ts';\n")).toEqual([fault]);
    expect(messages('scripts/a.mjs', '#!/usr/bin/env node\n// What it is.\n')).toEqual([]);
    expect(messages('web/lib/a.svelte', '<script lang="ts">\n  /** What it is. */\n</script>\n')).toEqual([]);
    expect(messages('web/lib/a.svelte', '<script lang="ts">\n  let a = 1;\n</script>\n')).toEqual([fault]);
    expect(messages('contracts/src/A.sol', '// SPDX-License-Identifier: MIT\ncontract A {}\n')).toEqual([
      fault,
    ]);
  });

  test('names are kebab-case, contracts excepted', () => {
    expect(messages('web/lossChart.ts', header)).toEqual(['1: lossChart is not kebab-case']);
    expect(messages('web/Lib/a.ts', header)).toEqual(['1: Lib is not kebab-case']);
    expect(messages('web/loss-chart.svelte.ts', header)).toEqual([]);
    expect(messages('contracts/test/RoundAnchor.t.sol', header)).toEqual([]);
  });
});

describe('functions', () => {
  const body = (count: number) => '  x();\n'.repeat(count);

  test('70 lines pass, 71 do not, in components too', () => {
    expect(messages('kernels/a.ts', `${header}function f() {\n${body(68)}}\n`)).toEqual([]);
    const long = `function f() {\n${body(69)}}\n`;
    expect(messages('kernels/a.ts', header + long)).toEqual(['2: f has 71 lines; 70 are the most']);
    const arrow = `const g = () => {\n${body(69)}};\n`;
    expect(messages('web/a.svelte', `<!-- What. -->\n<script lang="ts">\n${arrow}</script>\n`)).toEqual([
      '3: g has 71 lines; 70 are the most',
    ]);
  });

  test('the callback of describe is no function, that of test is one', () => {
    expect(messages('web/a.test.ts', `${header}describe('a', () => {\n${body(80)}});\n`)).toEqual([]);
    expect(messages('web/a.test.ts', `${header}test('a', () => {\n${body(80)}});\n`)).toHaveLength(1);
  });
});

test('WGSL is complete: no preprocessor', () => {
  expect(messages('kernels/ops/a/a.wgsl', '// What it is.\n#if FAST\n')).toEqual([
    '2: preprocessor line: a kernel is a complete WGSL file',
  ]);
});

test.each([
  'Date.now()',
  'Math.random()',
  'new Date()',
  'setTimeout(f, 1)',
  'fetch(url)',
  'performance.now()',
])('pure logic must not call %s', (call) => {
  const text = `${header}export const f = () => ${call};\n`;
  expect(messages('coordinator/scheduler/a.ts', text)).toHaveLength(1);
  expect(messages('coordinator/scheduler/a.test.ts', text)).toEqual([]);
  expect(messages('coordinator/routes/a.ts', text)).toEqual([]);
});

test('a date made from a given number is pure', () => {
  expect(
    messages('coordinator/ledger/a.ts', `${header}export const f = (ms: number) => new Date(ms);\n`),
  ).toEqual([]);
});
