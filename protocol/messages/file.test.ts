/** Files as lists of blocks. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Cid, cidOfSync, rawCode } from '../codec/cid.ts';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type BlockStore, readFile, writeFile } from './file.ts';

function memoryStore(): BlockStore & { blocks: Map<Cid, Uint8Array> } {
  const blocks = new Map<Cid, Uint8Array>();
  return {
    blocks,
    async get(cid) {
      const bytes = blocks.get(cid);
      if (!bytes) throw new AtollError('not_found', `No block ${cid}.`);
      return bytes;
    },
    async put(bytes, code = rawCode) {
      const cid = cidOfSync(bytes, code);
      blocks.set(cid, bytes.slice());
      return cid;
    },
  };
}

describe('file', () => {
  const sizeArb = fc.oneof(
    fc.integer({ min: 0, max: 3 }),
    fc.constantFrom(
      limits.blockBytesMax - 1,
      limits.blockBytesMax,
      limits.blockBytesMax + 1,
      2 * limits.blockBytesMax,
    ),
  );

  it('reads back what was written, in full blocks but the last', async () => {
    await fc.assert(
      fc.asyncProperty(sizeArb, fc.integer({ min: 0, max: 255 }), async (size, fill) => {
        const store = memoryStore();
        const bytes = new Uint8Array(size).fill(fill);
        const file = await writeFile(store, bytes);
        expect(file.size).toBe(size);
        expect(file.blocks.length).toBe(Math.ceil(size / limits.blockBytesMax));
        expect(Buffer.compare(await readFile(store, file), bytes)).toBe(0);
      }),
      { numRuns: 12 },
    );
  });

  it('is refused when its blocks do not add up', async () => {
    const store = memoryStore();
    const file = await writeFile(store, new Uint8Array(10).fill(1));
    const wrong = expect.objectContaining({ code: 'bad_input' });
    for (const size of [0, 9, 11, limits.blockBytesMax + 1, 2 ** 40]) {
      await expect(readFile(store, { ...file, size })).rejects.toEqual(wrong);
    }
    await expect(readFile(store, { size: 10, blocks: [] })).rejects.toEqual(wrong);
    await expect(readFile(store, { size: 0, blocks: file.blocks })).rejects.toEqual(wrong);
  });

  it('says which block is missing', async () => {
    const store = memoryStore();
    const file = await writeFile(store, new Uint8Array(10));
    store.blocks.clear();
    await expect(readFile(store, file)).rejects.toMatchObject({ code: 'not_found' });
  });
});
