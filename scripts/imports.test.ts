/** The arrows hold, cycles are found, and what is erased or started apart is no cycle. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkImports, importsOf } from './imports.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'atoll-imports-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Lays the files out and returns the faults. */
function faultsOf(files: Record<string, string>): string[] {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  }
  return checkImports(root).map((f) => `${f.file}:${f.line} ${f.message}`);
}

test('finds every way to import', () => {
  const text = `import a from './a.ts';
import type { B } from './b.ts';
import { type C } from './c.ts';
import { type D, d } from './d.ts';
export * from './e.ts';
const f = await import('./f.ts');
let g: import('./g.ts').G;
new Worker(new URL('./h.ts', import.meta.url));
import './i.ts';`;
  expect(importsOf('web/x.ts', text).map((i) => `${i.specifier} ${i.kind} ${i.line}`)).toEqual([
    './a.ts load 1',
    './b.ts type 2',
    './c.ts type 3',
    './d.ts load 4',
    './e.ts load 5',
    './f.ts load 6',
    './g.ts type 7',
    './h.ts url 8',
    './i.ts load 9',
  ]);
});

describe('arrows', () => {
  const target = {
    'kernels/index.ts': '',
    'kernels/ops/gemm/spec.ts': '',
    'protocol/errors.ts': '',
    'test/a.ts': '',
  };

  test.each([
    [
      'protocol/a.ts',
      "import type { K } from '#kernels/index.ts';",
      'protocol/ must not import kernels/index.ts',
    ],
    ['coordinator/a.ts', "import '#kernels/index.ts';", 'coordinator/ must not import kernels/index.ts'],
    [
      'web/a.svelte',
      "<script>\nimport '#kernels/index.ts';\n</script>",
      'web/ must not import kernels/index.ts',
    ],
    ['workers/a.ts', "import '#test/a.ts';", 'test/ is imported by nobody'],
    [
      'workers/a.ts',
      "import '../kernels/index.ts';",
      '../kernels/index.ts leaves the part: write #kernels/index.ts',
    ],
    ['workers/a.ts', "import './nothing.ts';", './nothing.ts names no file'],
    ['workers/a.ts', "import '#kernels/nothing.wgsl?raw';", '#kernels/nothing.wgsl?raw names no file'],
  ])('%s: %s', (file, text, message) => {
    const line = file.endsWith('.svelte') ? 2 : 1;
    expect(faultsOf({ ...target, [file]: text })).toEqual([`${file}:${line} ${message}`]);
  });

  test.each([
    ['coordinator/a.ts', "import '#kernels/ops/gemm/spec.ts';"],
    ['coordinator/a.test.ts', "import '#kernels/index.ts';"],
    ['kernels/a.ts', "import '#protocol/errors.ts';"],
    ['workers/a.ts', "import '#kernels/index.ts'; import 'viem';"],
    ['scripts/a.ts', "import '#kernels/index.ts';"],
  ])('%s may: %s', (file, text) => {
    expect(faultsOf({ ...target, [file]: text })).toEqual([]);
  });
});

describe('cycles', () => {
  test('are found over any length, once', () => {
    const files = {
      'protocol/a.ts': "import './b.ts';",
      'protocol/b.ts': "import '#protocol/c.ts';",
      'protocol/c.ts': "export * from './a.ts';",
      'protocol/d.ts': "import './a.ts';",
    };
    expect(faultsOf(files)).toEqual([
      'protocol/a.ts:1 cycle of imports: protocol/a.ts -> protocol/b.ts -> protocol/c.ts -> protocol/a.ts',
    ]);
  });

  test('of types are none, nor is a worker that imports what starts it', () => {
    expect(
      faultsOf({
        'workers/a.ts': "import './b.ts';",
        'workers/b.ts': "import type { A } from './a.ts';",
        'workers/c.ts': "new Worker(new URL('./d.ts', import.meta.url));",
        'workers/d.ts': "import './c.ts';",
      }),
    ).toEqual([]);
  });
});
