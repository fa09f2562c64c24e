/** The memory cache: verification, order of eviction, pins, and its accounts under any sequence of calls. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cborCode, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { MemoryBlockCache } from './block-cache.ts';

const block = (n: number, size = 10) => new Uint8Array(size).fill(n);

describe('MemoryBlockCache', () => {
  it('gives back what was put, under its CID', async () => {
    const cache = new MemoryBlockCache();
    const cid = await cache.put(block(1), cborCode);
    expect(cid).toBe(cidOfSync(block(1), cborCode));
    expect(await cache.get(cid)).toEqual(block(1));
    await expect(cache.get(cidOfSync(block(2), rawCode))).rejects.toMatchObject({ code: 'not_found' });
  });

  it('refuses bytes that are not those of the CID, and blocks that are too large', async () => {
    const cache = new MemoryBlockCache();
    await expect(cache.add(cidOfSync(block(1), rawCode), block(2))).rejects.toMatchObject({
      code: 'bad_block',
    });
    const large = new Uint8Array(limits.blockBytesMax + 1);
    await expect(cache.put(large)).rejects.toMatchObject({ code: 'too_large' });
    expect(cache.sizeBytes).toBe(0);
  });

  it('keeps a copy: writing into the bytes afterwards changes nothing', async () => {
    const cache = new MemoryBlockCache();
    const bytes = block(1);
    const cid = await cache.put(bytes);
    bytes[0] = 9;
    expect(await cache.get(cid)).toEqual(block(1));
  });

  it('evicts what was used longest ago, never what is pinned', async () => {
    const cache = new MemoryBlockCache(30);
    const pinned = await cache.putPinned(block(0));
    const [a, b] = [await cache.put(block(1)), await cache.put(block(2))];
    cache.peek(a);
    const c = await cache.put(block(3));
    expect([pinned, a, b, c].map((cid) => cache.peek(cid) !== undefined)).toEqual([true, true, false, true]);
    cache.unpin(pinned);
    await cache.put(block(4));
    await cache.put(block(5));
    await cache.put(block(6));
    expect(cache.peek(pinned)).toBeUndefined();
  });

  it('keeps its accounts under any sequence of calls', async () => {
    const call = fc.record({
      kind: fc.constantFrom('put', 'pin', 'unpin', 'add'),
      n: fc.integer({ min: 0, max: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 60 }), async (calls) => {
        const cache = new MemoryBlockCache(35);
        const pins = new Map<number, number>();
        for (const { kind, n } of calls) {
          const cid = cidOfSync(block(n), rawCode);
          if (kind === 'put') await cache.put(block(n));
          else if (kind === 'add') await cache.add(cid, block(n));
          else if (kind === 'pin') await cache.putPinned(block(n));
          else cache.unpin(cid);
          if (kind === 'pin' || kind === 'unpin')
            pins.set(n, Math.max(0, (pins.get(n) ?? 0) + (kind === 'pin' ? 1 : -1)));
          const held = [0, 1, 2, 3, 4, 5, 6].filter((m) => cache.peek(cidOfSync(block(m), rawCode)));
          const pinned = [...pins].filter(([, count]) => count > 0).map(([m]) => m);
          expect(cache.sizeBytes).toBe(held.length * 10);
          expect(cache.pinnedBytes).toBe(pinned.length * 10);
          for (const m of pinned) expect(held).toContain(m);
          expect(cache.sizeBytes).toBeLessThanOrEqual(Math.max(35, cache.pinnedBytes));
        }
      }),
    );
  });
});
