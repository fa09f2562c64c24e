/** Files in pieces are the files of `writeFile`, and wrong ones are refused. */
import { describe, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { readFile, writeFile } from '#protocol/messages/file.ts';
import { FileReader, FileWriter } from './file-stream.ts';

const { blockBytesMax } = limits;

function bytesOf(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 2_654_435_761) >>> 24);
}

describe('a file in pieces', () => {
  it.each([0, 1, blockBytesMax - 1, blockBytesMax, blockBytesMax + 1, 2 * blockBytesMax])(
    'of %i bytes is the file that writeFile writes',
    async (size) => {
      const blocks = new MemoryBlocks();
      const bytes = bytesOf(size);
      const writer = new FileWriter(blocks);
      for (let at = 0; at < size; at += 700_001) await writer.write(bytes.subarray(at, at + 700_001));
      const file = await writer.finish();
      expect(file).toEqual(await writeFile(blocks, bytes));
      expect(Buffer.compare(await readFile(blocks, file), bytes)).toBe(0);
    },
  );

  it('reads any part, padded with zeros', async () => {
    const blocks = new MemoryBlocks();
    const bytes = bytesOf(2 * blockBytesMax + 5);
    const reader = new FileReader(blocks, await writeFile(blocks, bytes), bytes.length);
    for (const [at, count] of [
      [0, 3],
      [blockBytesMax - 2, 4],
      [10, 2 * blockBytesMax - 6],
      [2 * blockBytesMax, 5],
    ] as const) {
      const got = await reader.read(at, count, count + 3);
      expect(Buffer.compare(got.subarray(0, count), bytes.subarray(at, at + count))).toBe(0);
      expect([...got.subarray(count)]).toEqual([0, 0, 0]);
    }
  });

  it('refuses another size, and blocks that do not add up to it', async () => {
    const blocks = new MemoryBlocks();
    const file = await writeFile(blocks, bytesOf(10));
    expect(() => new FileReader(blocks, file, 9)).toThrow(expect.objectContaining({ code: 'bad_input' }));
    const longer = { size: 12, blocks: file.blocks };
    await expect(new FileReader(blocks, file, 10).read(8, 3)).rejects.toMatchObject({ code: 'bad_input' });
    await expect(new FileReader(blocks, longer, 12).read(0, 1)).rejects.toMatchObject({ code: 'bad_input' });
  });
});
