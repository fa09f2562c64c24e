/** The emulation itself: barriers, warp primitives and tensor fragments are the GPU's, and each mistake that it promises to show is shown. */
import { describe, expect, it } from 'vitest';
import { lowbias32 } from '../../../ops/math/cpu.ts';
import type { CudaFunction } from '../driver.ts';
import { haveCompiler } from './emulated-compiler.ts';
import { createEmulatedDriver, type EmulatedOptions } from './emulated-driver.ts';

type Grid = readonly [number, number, number];
interface Shape extends EmulatedOptions {
  grid?: Grid;
  block?: Grid;
  shared?: number;
  /** What `out` holds at first. */
  start?: Uint32Array;
  bounds?: number;
  args?: (out: bigint) => (bigint | number)[];
}

/** Runs a kernel of this body, with parameters `u32* out, u32 n`, over a tensor of n words. */
async function run(body: string, words: number, shape: Shape = {}): Promise<number[]> {
  const { grid = [1, 1, 1], block = [64, 1, 1], shared = 0, start, bounds = 1024 } = shape;
  const driver = createEmulatedDriver(shape);
  try {
    const head = `extern "C" __global__ void __launch_bounds__(${bounds}) probe(u32* out, u32 n) {`;
    const source = { label: 'probe', parts: ['typedef unsigned int u32;', `${head}\n${body}\n}`] };
    const fn = (await driver.load(source, ['probe'])).get('probe') as CudaFunction;
    const out = driver.allocate(words * 4);
    if (start) driver.write(out, new Uint8Array(start.buffer));
    const args = shape.args?.(out) ?? [out, words];
    driver.launch(driver.graph([{ fn, args, grid, block, shared }]));
    return [...new Uint32Array((await driver.read(out, words * 4)).buffer)];
  } finally {
    driver.destroy();
  }
}

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
const garbage = 0xffa5a5a5;

describe.skipIf(!haveCompiler())('emulated CUDA', () => {
  describe.each([0, 1, 2])('seed %i', (seed) => {
    it('reduces in shared memory with barriers and shuffles', async () => {
      const body = `
        __shared__ u32 part[2][2];
        u32 x = threadIdx.x + 100 * threadIdx.y;
        for (int m = 16; m; m >>= 1) x += __shfl_xor_sync(0xffffffffu, x, m);
        if (threadIdx.x % 32 == 0) part[threadIdx.y][threadIdx.x / 32] = x;
        __syncthreads();
        if (threadIdx.x == 0) out[blockIdx.x * 2 + threadIdx.y] = part[threadIdx.y][0] + part[threadIdx.y][1];`;
      const out = await run(body, 6, { grid: [3, 1, 1], block: [64, 2, 1], seed });
      expect(out).toEqual([2016, 8416, 2016, 8416, 2016, 8416]);
    });

    it('shuffles within segments, and up and down to their ends', async () => {
      const body = `
        const u32 x = threadIdx.x;
        const u32 all = 0xffffffffu;
        out[x] = __shfl_sync(all, x, 3, 8) | __shfl_up_sync(all, x, 2) << 8 | __shfl_down_sync(all, x, 2, 16) << 16 | __shfl_xor_sync(all, x, 9) << 24;`;
      const want = upTo(32).map((x) => {
        const [up, down] = [x < 2 ? x : x - 2, x % 16 > 13 ? x : x + 2];
        return (((x & 24) | 3) + up * 2 ** 8 + down * 2 ** 16 + (x ^ 9) * 2 ** 24) >>> 0;
      });
      expect(await run(body, 32, { block: [32, 1, 1], seed })).toEqual(want);
    });

    it('lets parts of a warp go separate ways', async () => {
      const body = `
        const u32 x = threadIdx.x;
        const u32 mask = __ballot_sync(0xffffffffu, x % 3 == 0);
        if (x % 3 == 0) out[x] = __popc(mask) + 100 * __reduce_add_sync(mask, x);
        else out[x] = __any_sync(~mask, x == 31) + 2 * __all_sync(~mask, x == 31);`;
      const want = upTo(32).map((x) => (x % 3 === 0 ? 11 + 16_500 : 1));
      expect(await run(body, 32, { block: [32, 1, 1], seed })).toEqual(want);
    });

    it('goes on when threads have left', async () => {
      const body = `
        __shared__ u32 x[64];
        if (threadIdx.x >= 40) return;
        x[threadIdx.x] = threadIdx.x;
        const int low = __syncthreads_count(threadIdx.x < 7);
        const u32 sum = __reduce_max_sync(0xffffffffu, x[39 - threadIdx.x]);
        out[threadIdx.x] = sum + 100 * low;`;
      const want = upTo(40).map((x) => (x < 32 ? 739 : 707));
      expect(await run(body, 40, { seed })).toEqual(want);
    });

    it('has atomics on shared and global memory', async () => {
      const body = `
        __shared__ unsigned long long sum;
        if (threadIdx.x == 0) sum = 0;
        __syncthreads();
        atomicAdd(&sum, 0x100000001ull);
        atomicMax(out + 1, threadIdx.x);
        atomicMin(out + 2, threadIdx.x + 5);
        __syncthreads();
        if (threadIdx.x == 0) { atomicAdd(out, (u32)sum); atomicAdd(out + 3, (u32)(sum >> 32)); }`;
      const start = Uint32Array.of(0, 0, 100, 0);
      expect(await run(body, 4, { grid: [3, 1, 1], start, seed })).toEqual([192, 63, 5, 192]);
    });

    it('has the fragments of mma.m16n8k32 and ldmatrix as PTX has them', async () => {
      // Bytes of A (16 x 32), then of B (32 x 8) by columns, then C.
      const bytes = Int8Array.from({ length: 768 }, (_, i) => (i % 37 === 0 ? -128 : lowbias32(i)));
      const start = new Uint32Array(192 + 128 + 128);
      start.set(new Uint32Array(bytes.buffer));
      const body = `
        alignas(16) __shared__ u32 a_rows[16][8];
        const signed char* a_in = (const signed char*)out;
        const signed char* b_in = a_in + 512;
        const u32 lane = threadIdx.x, group = lane >> 2, tid = lane % 4;
        u32 a[4], b[2];
        for (u32 word = 0; word < 4; word++) {
          u32 packed = 0;
          for (u32 i = word * 4; i < word * 4 + 4; i++) {
            const u32 row = i < 4 || (i >= 8 && i < 12) ? group : group + 8, column = tid * 4 + (i & 3) + (i < 8 ? 0 : 16);
            packed |= (u32)(unsigned char)a_in[row * 32 + column] << (i % 4 * 8);
          }
          a[word] = packed;
        }
        for (u32 word = 0; word < 2; word++) {
          u32 packed = 0;
          for (u32 i = word * 4; i < word * 4 + 4; i++) {
            const u32 row = tid * 4 + (i & 3) + (i < 4 ? 0 : 16);
            packed |= (u32)(unsigned char)b_in[group * 32 + row] << (i % 4 * 8);
          }
          b[word] = packed;
        }
        int c[4] = {1000, 1000, 1000, 1000};
        mma_s8(c, a, b);
        for (u32 i = 0; i < 4; i++) out[192 + (i < 2 ? group : group + 8) * 8 + tid * 2 + (i & 1)] = (u32)c[i];
        for (u32 i = lane; i < 128; i += 32) a_rows[i / 8][i % 8] = out[i];
        __syncwarp();
        u32 loaded[4];
        load_matrix_x4(loaded, &a_rows[lane % 16][lane / 16 * 4]);
        for (u32 i = 0; i < 4; i++) out[320 + lane * 4 + i] = loaded[i] == a[i];`;
      const out = await run(body, start.length, { block: [32, 1, 1], start, seed });
      const want = upTo(128).map((at) => {
        const [m, n] = [at >> 3, at & 7];
        const product = (k: number) => (bytes[m * 32 + k] as number) * (bytes[512 + n * 32 + k] as number);
        return (upTo(32).reduce((sum, k) => sum + product(k), 1000) + 2 ** 32) % 2 ** 32;
      });
      expect(out.slice(192, 320)).toEqual(want);
      // Matrices 0 and 1 are the upper and lower rows of the first 16 columns, 2 and 3 of the others: the four registers of A.
      expect(out.slice(320)).toEqual(upTo(128).map(() => 1));
    });
  });

  it('performs asynchronous copies at once or only when waited for', async () => {
    const body = `
      alignas(16) __shared__ u32 x[8];
      copy_async16(x, out, true);
      copy_commit();
      copy_async16(x + 4, out, false);
      copy_commit();
      const u32 first = x[0];
      copy_wait<1>();
      const u32 second = x[1], third = x[4];
      copy_wait<0>();
      out[4] = first; out[5] = second; out[6] = third; out[7] = x[4];`;
    const start = Uint32Array.of(11, 12, 13, 14, 0, 0, 0, 0);
    const shape = { block: [1, 1, 1] as Grid, start };
    expect((await run(body, 8, { ...shape, seed: 2 })).slice(4)).toEqual([11, 12, 0, 0]);
    expect((await run(body, 8, { ...shape, seed: 1 })).slice(4)).toEqual([garbage, 12, garbage, 0]);
  });

  it('begins with garbage, in shared memory of every block and in what is allocated', async () => {
    const body = `
      __shared__ u32 x;
      extern __shared__ u32 dynamic[];
      out[blockIdx.x * 2] = x;
      out[blockIdx.x * 2 + 1] = dynamic[3];
      x = dynamic[3] = 0;`;
    const out = await run(body, 6, { grid: [2, 1, 1], block: [1, 1, 1], shared: 16 });
    expect(out).toEqual(upTo(6).map(() => garbage));
  });

  it('shows a race between blocks or threads by another order', async () => {
    const blocks = 'if (threadIdx.x == 0) *out = blockIdx.x;';
    const threads = `__shared__ u32 x; x = threadIdx.x; __syncthreads(); *out = x;`;
    for (const body of [blocks, threads]) {
      const seen = new Set<number | undefined>();
      for (const seed of upTo(6)) seen.add((await run(body, 1, { grid: [9, 1, 1], seed }))[0]);
      expect(seen.size).toBeGreaterThan(1);
    }
  });

  it('ends with an error where a barrier waits for threads that wait elsewhere', async () => {
    const body = 'if (threadIdx.x < 32 || threadIdx.x >= 40) __syncthreads(); else __syncwarp();';
    const message = /deadlock: 8 threads wait for lanes of their warp.*__syncwarp.*56 wait in __syncthreads/;
    await expect(run(body, 1)).rejects.toThrow(message);
  });

  it.each([
    [
      'lanes in different calls',
      'if (threadIdx.x < 8) __syncwarp(); else __any_sync(0xffffffffu, 1);',
      /deadlock/,
    ],
    ['a lane outside its mask', '__syncwarp(1);', /lane \d+ is not in its own mask/],
    [
      'different barriers',
      'if (threadIdx.x) __syncthreads(); else __syncthreads_or(1);',
      /__syncthreads, while others wait in __syncthreads_or/,
    ],
    [
      'an index out of bounds',
      '__shared__ u32 x[4]; x[n + 3] = 1;',
      /out of the array's bounds at probe.cu:2/,
    ],
    ['a shift by 32', '*out = 1u << (n + 31);', /shift by the width/],
    ['a division by zero', '*out = 1u / (n - 1);', /division by zero/],
    ['a trap', '__trap();', /block \(0, 0, 0\), thread \(\d+, 0, 0\): __trap/],
    [
      'writing behind dynamic shared memory',
      'extern __shared__ u32 x[]; x[4] = 1;',
      /behind its 16 bytes of dynamic/,
    ],
    ['writing behind an allocation', 'out[1] = 1;', /wrote behind an allocation of 4 bytes/],
    ['writing before an allocation', 'out[-1] = 1;', /wrote before an allocation/],
    [
      'a misaligned copy',
      '__shared__ u32 x[8]; copy_async16(x + 1, out, true);',
      /cp.async: address not aligned/,
    ],
    [
      'a copy from shared memory',
      'alignas(16) __shared__ u32 x[8]; copy_async16(x, x + 4, true);',
      /not an address of global/,
    ],
    [
      'part of a warp in mma',
      'if (threadIdx.x % 2) return; int c[4]; u32 a[4], b[2]; mma_s8(c, a, b);',
      /16 lanes of 32/,
    ],
  ])('ends with an error: %s', async (_, body, message) => {
    await expect(run(body, 1, { shared: 16 })).rejects.toThrow(message);
  });

  it('refuses launches that a GPU would refuse', async () => {
    await expect(run('', 1, { bounds: 32 })).rejects.toThrow('blocks of 32 threads at most');
    await expect(run('', 1, { grid: [0, 1, 1] })).rejects.toThrow('no such grid');
    await expect(run('', 1, { grid: [1, 65_536, 1] })).rejects.toThrow('no such grid');
    await expect(run('', 1, { shared: 200_000 })).rejects.toThrow('bytes of shared memory');
    await expect(run('', 1, { args: (out) => [1, out] })).rejects.toThrow('takes pw');
    await expect(run('', 1, { args: (out) => [out] })).rejects.toThrow('takes pw');
    await expect(run('', 1, { args: (out) => [out, 2 ** 32] })).rejects.toThrow('no 32-bit word');
    await expect(run('', 1, { args: () => [4096n, 1] })).rejects.toThrow('in no allocation');
  });

  it('says which line does not compile', async () => {
    await expect(run('u32 x = 1;\nnonsense(x);', 1)).rejects.toThrow(/probe\.cu:3:.*nonsense/s);
  });

  it('refuses memory beyond its size, and gives back what is released', () => {
    const driver = createEmulatedDriver({ info: { memoryBytes: 4096 } });
    const address = driver.allocate(4096);
    expect(() => driver.allocate(1)).toThrow(/do not fit/);
    driver.release(address);
    driver.zero(driver.allocate(4096), 4096);
    driver.destroy();
  });

  it('is lost when told to be, for good', async () => {
    const body = 'out[threadIdx.x] = 1;';
    await expect(run(body, 64, { loseAfter: 0 })).rejects.toMatchObject({ code: 'device_lost' });
    const driver = createEmulatedDriver();
    driver.lose();
    expect(await driver.lost).toMatchObject({ code: 'device_lost' });
    expect(() => driver.allocate(4)).toThrow('told to go away');
    await expect(driver.read(0n, 4)).rejects.toMatchObject({ code: 'device_lost' });
    driver.destroy();
  });

  describe('checked', () => {
    const two = { block: [64, 1, 1] as Grid, checked: true };
    const x = '__shared__ u32 x[64];';
    const mine = 'x[threadIdx.x] = threadIdx.x;';

    it.each([
      ['a barrier', `${x} ${mine} __syncthreads(); out[threadIdx.x] = x[63 - threadIdx.x];`],
      [
        'a barrier of the warp',
        `${x} ${mine} __syncwarp(); out[threadIdx.x] = x[threadIdx.x ^ 1]; __syncwarp(); ${mine}`,
      ],
      [
        'many readers, a barrier, a writer',
        `${x} ${mine} __syncthreads(); out[threadIdx.x] = x[0]; __syncthreads(); if (threadIdx.x == 5) x[0] = 1;`,
      ],
      ['atomics', `atomicAdd(out, 1u); if (threadIdx.x == 0) atomicMax(out + 1, blockIdx.x);`],
      [
        'the last of the blocks',
        `if (threadIdx.x) return; out[blockIdx.x] = 1; __threadfence(); if (atomicAdd(out + 100, 1u) == 2) out[0] = out[1];`,
      ],
      [
        'copies that are waited for',
        `alignas(16) ${x} if (threadIdx.x == 0) copy_async16(x, out, true); copy_commit(); copy_wait<0>(); __syncthreads(); out[threadIdx.x + 64] = x[1];`,
      ],
    ])('is content with %s', async (_, body) => {
      const grid: Grid = /^(if|atomic)/.test(body) ? [3, 1, 1] : [1, 1, 1];
      for (const seed of [0, 1, 2]) await run(body, 128, { ...two, seed, grid, start: new Uint32Array(128) });
    });

    it.each([
      ['no barrier', `${x}\n${mine}\nout[threadIdx.x] = x[63 - threadIdx.x];`, /race: .* probe\.cu:[34]/],
      [
        'no barrier before the next write',
        `${x} ${mine} __syncthreads(); out[threadIdx.x] = x[63 - threadIdx.x]; ${mine}`,
        /race/,
      ],
      ['no barrier of the warp', `${x} ${mine} out[threadIdx.x] = x[threadIdx.x ^ 1];`, /race/],
      [
        'a shuffle for a barrier',
        `${x} ${mine} __shfl_sync(~0u, 1, 0); out[threadIdx.x] = x[threadIdx.x ^ 1];`,
        /race/,
      ],
      [
        'a barrier of the warp among two',
        `${x} ${mine} __syncwarp(); out[threadIdx.x] = x[threadIdx.x ^ 32];`,
        /race/,
      ],
      [
        'many readers and a writer',
        `${x} ${mine} __syncthreads(); out[threadIdx.x] = x[0]; __syncwarp(); if (threadIdx.x == 63) x[0] = 1;`,
        /race/,
      ],
      ['two blocks that write', `if (threadIdx.x == 0) *out = 1;`, /race/],
      [
        'a block that reads and one that writes',
        `if (threadIdx.x == 0) out[blockIdx.x + 1] = out[blockIdx.x];`,
        /race/,
      ],
      [
        'a copy into what others read',
        `alignas(16) ${x} ${mine} __syncthreads(); out[threadIdx.x] = x[0]; if (threadIdx.x == 40) { copy_async16(x, out + 8, false); } copy_commit(); copy_wait<0>();`,
        /race/,
      ],
      [
        'a copy that only its thread has waited for',
        `alignas(16) ${x} if (threadIdx.x == 0) copy_async16(x, out, true); copy_commit(); __syncthreads(); copy_wait<0>(); out[64 + threadIdx.x] = x[0];`,
        /race/,
      ],
      [
        'a read behind a tensor',
        `out[threadIdx.x] = out[n + threadIdx.x];`,
        /read of 4 bytes at byte \d+ of an allocation of 512, probe\.cu:2/,
      ],
      ['a read far from every tensor', `out[threadIdx.x] = out[1ull << 40];`, /where nothing was allocated/],
      [
        'a read behind dynamic shared memory',
        `extern __shared__ u32 y[]; out[threadIdx.x] = y[4 + threadIdx.x];`,
        /read beyond 16 bytes of dynamic/,
      ],
    ])('ends with an error: %s', async (_, body, message) => {
      for (const seed of [0, 1, 2]) {
        const shape = { ...two, seed, start: new Uint32Array(128), shared: 16 };
        const grid: Grid = body.startsWith('if') ? [3, 1, 1] : [1, 1, 1];
        await expect(run(body, 128, { ...shape, grid })).rejects.toThrow(message);
      }
    });
  });
});
