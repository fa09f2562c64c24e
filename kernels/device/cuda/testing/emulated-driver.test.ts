/** The emulation itself: barriers, warp primitives, shared memory, and that each mistake it promises to show is shown. */
import { describe, expect, it } from 'vitest';
import type { CudaFunction } from '../driver.ts';
import { haveCompiler } from './emulated-compiler.ts';
import { createEmulatedDriver } from './emulated-driver.ts';

type Grid = readonly [number, number, number];

/** Runs one kernel over one tensor of words. */
async function run(
  body: string,
  words: number,
  { grid = [1, 1, 1] as Grid, block = [64, 1, 1] as Grid, shared = 0, seed = 0 } = {},
): Promise<Uint32Array> {
  const driver = createEmulatedDriver({ seed });
  try {
    const source = {
      label: 'probe',
      parts: ['typedef unsigned int u32;', `extern "C" __global__ void probe(u32* out, u32 n) {\n${body}\n}`],
    };
    const fn = (await driver.load(source, ['probe'])).get('probe') as CudaFunction;
    const out = driver.allocate(words * 4);
    driver.launch(driver.graph([{ fn, args: [out, words], grid, block, shared }]));
    return new Uint32Array((await driver.read(out, words * 4)).buffer);
  } finally {
    driver.destroy();
  }
}

describe.skipIf(!haveCompiler())('emulated CUDA', () => {
  it.each([0, 1, 2])('reduces in shared memory with barriers and shuffles, seed %i', async (seed) => {
    const body = `
      __shared__ u32 part[2][2];
      u32 x = threadIdx.x + 100 * threadIdx.y;
      for (int m = 16; m; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
      if (threadIdx.x % 32 == 0) part[threadIdx.y][threadIdx.x / 32] = x;
      __syncthreads();
      if (threadIdx.x == 0) out[blockIdx.x * 2 + threadIdx.y] = part[threadIdx.y][0] + part[threadIdx.y][1];`;
    const out = await run(body, 6, { grid: [3, 1, 1], block: [64, 2, 1], seed });
    expect([...out]).toEqual([2016, 8416, 2016, 8416, 2016, 8416]);
  });
});
