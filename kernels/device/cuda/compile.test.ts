/**
 * Every CUDA source compiles for Ampere, Hopper and Blackwell, with no GPU: by NVRTC as a node does, and by nvcc with every warning an error. Either is skipped,
 * with its reason printed, where it is not. What a compiler took once is not given to it again; with both there, NVRTC is given one architecture.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compilerFor } from './create.ts';
import { architectureOf, compilerFlags, findNvrtc, type Nvrtc } from './nvrtc.ts';
import { allSources } from './testing/sources.ts';

const run = promisify(execFile);
const architectures = [80, 90, 120];
const { sources, unused } = await allSources();

const nvrtc = ((): Nvrtc | string => {
  try {
    return findNvrtc();
  } catch (error) {
    return (error as Error).message;
  }
})();
const nvcc = await run('nvcc', ['--version']).then(
  ({ stdout }) => stdout,
  () => null,
);

const passed = path.join(tmpdir(), `atoll-cuda-passed-${process.getuid?.() ?? 0}`);
/** Compiles unless the same compiler has taken the same text before. */
async function once(parts: readonly string[], compiler: readonly unknown[], compile: () => Promise<void>) {
  const key = createHash('sha256')
    .update(JSON.stringify([parts, compiler]))
    .digest('hex');
  const mark = path.join(passed, key);
  if (existsSync(mark)) return;
  await compile();
  await mkdir(passed, { recursive: true, mode: 0o700 });
  await writeFile(mark, '');
}
const timeoutMs = 300_000;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'atoll-cuda-'));
});
afterAll(() => rm(folder, { recursive: true }));

it('every .cu file is part of a source that its op exports, each of its own name', () => {
  expect(unused.filter((file) => file.endsWith('.cu'))).toEqual([]);
  const labels = sources.map(({ label }) => label);
  expect(new Set(labels).size).toBe(labels.length);
});

describe('NVRTC', () => {
  const compiler = nvrtc as Nvrtc;
  const source = (body: string) => ({ label: 'trial', parts: ['typedef unsigned u32;', body] });
  const kernel = 'extern "C" __global__ void k(float* x) { x[0] = x[1] * x[2] + x[3]; }';

  beforeEach(({ skip }) => {
    if (typeof nvrtc === 'string') skip(nvrtc);
  });

  it.each(nvcc === null ? architectures : [80])(
    'compiles every source for sm_%d',
    async (capability) => {
      const architecture = architectureOf(compiler, capability) as string;
      for (const each of sources) {
        await once(each.parts, [compiler.version, architecture, compilerFlags], async () => {
          expect((await compiler.compile(each, architecture)).length).toBeGreaterThan(500);
        });
      }
    },
    timeoutMs,
  );

  it('neither contracts nor flushes', async () => {
    const ptx = new TextDecoder().decode(await compiler.compile(source(kernel), 'compute_80'));
    expect(ptx).toContain('mul.rn.f32');
    expect(ptx).toContain('add.rn.f32');
    expect(ptx).not.toMatch(/fma|\.ftz/);
  });

  it('says what is wrong with a source', async () => {
    const broken = compiler.compile(source('extern "C" __global__ void k() { y = 1; }'), 'sm_80');
    await expect(broken).rejects.toThrow(
      /NVRTC does not compile trial.*\n.*trial\.cu\(2\): error: identifier "y"/,
    );
  });

  it('is asked once for what the cache keeps', async () => {
    const cacheDir = path.join(folder, 'kernels');
    const gpu = { name: 'A GPU', capability: 90 };
    const { signal } = new AbortController();
    const make = () => compilerFor(gpu, 99_000, { cacheDir }).compile(source(kernel), signal);
    const first = await make();
    expect(await readdir(cacheDir)).toHaveLength(1);
    const stopped = AbortSignal.abort();
    // From the disk nothing is compiled, so that even a stop does not stop it.
    const second = await compilerFor(gpu, 99_000, { cacheDir }).compile(source(kernel), stopped);
    expect(Buffer.compare(first, second)).toBe(0);
  });

  it('makes machine code where it can, PTX for a newer GPU, nothing for one that is too old', () => {
    expect(architectureOf(compiler, 90)).toBe('sm_90');
    expect(architectureOf(compiler, 999)).toMatch(/^compute_\d+$/);
    expect(architectureOf(compiler, 30)).toBeNull();
    expect(() => compilerFor({ name: 'Old GPU', capability: 30 }, 99_000, {})).toThrow(/Old GPU/);
  });
});

describe('nvcc', () => {
  beforeEach(({ skip }) => {
    if (nvcc === null) skip('nvcc is not here');
  });

  // All in one text, each source in a namespace of its own: a third of the time that one call for each would take.
  const text = sources
    .map(({ label, parts }, i) => {
      const body = parts.join('\n').replaceAll('extern "C" ', '');
      return `namespace source_${i} {\n#line 1 "${label}.cu"\n${body}\n}\n`;
    })
    .join('');

  it.each(architectures)(
    'compiles every source for sm_%d',
    async (each) => {
      const code = ['-gencode', `arch=compute_${each},code=sm_${each}`];
      const flags = ['-fatbin', ...compilerFlags, '-Werror', 'all-warnings', ...code];
      await once([text], [nvcc, flags], async () => {
        const file = path.join(folder, 'all.cu');
        await writeFile(file, text);
        await run('nvcc', [...flags, '-o', path.join(folder, `all-${each}.fatbin`), file]);
      });
    },
    timeoutMs,
  );
});
