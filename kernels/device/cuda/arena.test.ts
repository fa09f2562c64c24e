/** The arena hands out memory that is apart, aligned and zeroed, whatever the order of things, and gives whole chunks back. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { Arena } from './arena.ts';
import { createCudaDeviceOn } from './device.ts';
import type { CudaDriver, DriverInfo } from './driver.ts';

const mib = 2 ** 20;

/** A driver whose memory is only accounted for. `roomBytes`: what it has left for us, less than it says. */
function countingDriver(memoryBytes = 4096 * mib, roomBytes = memoryBytes) {
  const chunks = new Map<bigint, number>();
  const zeroed: { at: bigint; bytes: number }[] = [];
  let next = 0x10_0000n;
  const held = () => [...chunks.values()].reduce((sum, bytes) => sum + bytes, 0);
  const [capability, multiprocessors, sharedMax] = [90, 132, 232_448];
  const limits = { memoryBytes, capability, multiprocessors, sharedMax };
  const info: DriverInfo = { name: 'Nothing', uuid: '', emulated: true, ...limits };
  const driver = {
    info,
    lost: new Promise<AtollError>(() => {}),
    allocate(bytes: number) {
      if (held() + bytes > roomBytes) throw new AtollError('out_of_memory', 'No room.');
      const at = next;
      next += BigInt(bytes) + 0x1000n;
      chunks.set(at, bytes);
      return at;
    },
    release: (at: bigint) => void chunks.delete(at),
    zero: (at: bigint, bytes: number) => void zeroed.push({ at, bytes }),
    destroy() {},
  } as unknown as CudaDriver;
  return { driver, chunks, zeroed, held };
}

describe('the arena', () => {
  it('never hands out the same byte twice, and everything goes back', () => {
    const step = fc.oneof(
      fc.record({ take: fc.integer({ min: 1, max: 3 * mib }) }),
      fc.record({ give: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { driver, chunks, zeroed } = countingDriver();
        const arena = new Arena(driver);
        const live: { at: bigint; bytes: number }[] = [];
        for (const each of steps) {
          if ('take' in each) {
            const at = arena.allocate(each.take);
            expect(at % 256n).toBe(0n);
            const block = { at, bytes: each.take };
            expect(live.every((b) => at + BigInt(block.bytes) <= b.at || b.at + BigInt(b.bytes) <= at)).toBe(
              true,
            );
            expect(
              [...chunks].some(([c, size]) => c <= at && at + BigInt(block.bytes) <= c + BigInt(size)),
            ).toBe(true);
            const last = zeroed.at(-1);
            expect(last?.at === at && last.bytes >= each.take).toBe(true);
            live.push(block);
          } else if (live.length > 0) {
            const [gone] = live.splice(each.give % live.length, 1);
            arena.release((gone as { at: bigint }).at);
          }
        }
        for (const { at } of live) arena.release(at);
        expect(chunks.size).toBe(0);
      }),
    );
  });

  it('uses what was given back between two others', () => {
    const { driver, held } = countingDriver();
    const arena = new Arena(driver);
    const [, b, c] = [arena.allocate(1000), arena.allocate(3000), arena.allocate(3000), arena.allocate(1000)];
    arena.release(c as bigint);
    arena.release(b as bigint);
    expect(arena.allocate(6000)).toBe(b);
    expect(held()).toBe(2 * mib);
  });

  it('takes chunks that grow, and exactly what is needed where there is no more', () => {
    const { driver, chunks } = countingDriver(4096 * mib, 100 * mib);
    const arena = new Arena(driver);
    for (let i = 0; i < 32; i++) arena.allocate(mib);
    expect([...chunks.values()].map((bytes) => bytes / mib)).toEqual([2, 2, 4, 8, 16]);
    arena.allocate(60 * mib); // 32 would do for a chunk, 60 is asked for
    arena.allocate(8 * mib); // all that is left: a chunk of 92 does not fit any more
    expect(() => arena.allocate(mib)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
  });
});

describe('a device', () => {
  it('says what work takes before anything is taken', () => {
    const { driver, chunks } = countingDriver(64 * mib);
    const device = createCudaDeviceOn(driver);
    const need = device.rehearse?.((dry) => {
      dry.tensor(1000);
      const q = dry.quantized(1, 10, 100);
      const [src, dst] = [dry.tensor(1000), q];
      const view = {
        tensor: src,
        offset: 0,
        batch: [1, 0, 1, 0],
        rows: 10,
        rowStride: 100,
        cols: 100,
        colStride: 1,
      } as const;
      dry.record((ops) => ops.quantize({ src: view, dst, nb: 15 }));
    });
    expect(need).toMatchObject({ largestBytes: 4096 });
    // Two tensors, two planes of digits, exponents, the width; scratch of the op may come on top.
    expect(need?.buffers).toBeGreaterThanOrEqual(6);
    expect(chunks.size).toBe(0);
    expect(() => device.rehearse?.((dry) => void dry.tensor(65 * mib))).toThrow(
      expect.objectContaining({ code: 'out_of_memory' }),
    );
  });

  it('lays out operands in digits of a byte, lines padded to 64, and refuses what cannot be', () => {
    const device = createCudaDeviceOn(countingDriver().driver);
    expect(device.quantized(2, 10, 65)).toMatchObject({
      lines: 10,
      stride: 128,
      mantissas: { size: (2 * 10 * 128) / 4 },
    });
    expect(device.quantized(2, 65, 10, true)).toMatchObject({ lines: 10, stride: 128 });
    expect(device.quantized(1, 8, 64, false, true)).toMatchObject({ high: null, stride: 64 });
    expect(() => device.quantized(1, 8, 64, true, true)).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
    for (const size of [0, -1, 1.5, 2 ** 32, NaN]) {
      expect(() => device.tensor(size)).toThrow(expect.objectContaining({ code: 'out_of_memory' }));
    }
    expect(() => device.write(device.tensor(4), new Uint32Array(2), 3)).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
  });

  it('refuses a launch that no GPU would take', () => {
    const device = createCudaDeviceOn(countingDriver().driver);
    const x = device.tensor(4);
    const kernel = { source: { label: 'x', parts: [] }, entry: 'x' };
    const usual = { kernel, args: [x], grid: [1, 1, 1], block: [1, 1, 1] } as const;
    for (const wrong of [
      { grid: [1, 65_536, 1] as const },
      { block: [32, 33, 1] as const },
      { block: [1, 1, 65] as const },
      { args: [2 ** 32] },
      { args: [0.5] },
      { args: [{ size: 4 }] },
    ]) {
      expect(() => device.recordLaunches([{ ...usual, ...wrong }])).toThrow(/launch of x cannot be made/);
    }
  });
});
