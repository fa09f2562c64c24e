/** One suite for the block stores: on disk, and on S3 (s3rver, with real signatures). */
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cborCode, cidOfSync, parseCid, rawCode } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { temporaryFolder } from '../testing/harness.ts';
import { startS3 } from '../testing/s3.ts';
import { type BlobStore, openBlobs, type StoredBlock } from './blobs.ts';
import { openS3Blobs } from './blobs-s3.ts';

async function entriesOf(blobs: BlobStore): Promise<StoredBlock[]> {
  const entries: StoredBlock[] = [];
  for await (const entry of blobs.entries()) entries.push(entry);
  return entries;
}

const stores: Record<string, () => Promise<BlobStore>> = {
  disk: async () => openBlobs(await temporaryFolder()),
  s3: async () => openS3Blobs(await startS3()),
};

describe.each(Object.entries(stores))('%s', (_name, open) => {
  test('blocks are kept, read back by their id, listed and removed', async () => {
    const blobs = await open();
    const blocks = [Uint8Array.of(1), new Uint8Array(limits.blockBytesMax).fill(7), Uint8Array.of(0xa0)];
    const before = Date.now() - 2_000;
    const cids = [];
    for (const bytes of blocks) cids.push(await blobs.put(bytes, bytes.length === 1 ? rawCode : cborCode));
    expect(parseCid(cids[1] as string).code).toBe(cborCode);
    for (const [i, cid] of cids.entries()) {
      expect(await blobs.has(cid)).toBe(true);
      expect(Buffer.compare(await blobs.get(cid), blocks[i] as Uint8Array)).toBe(0);
    }
    expect(await blobs.put(blocks[0] as Uint8Array)).toBe(cids[0]);
    const entries = await entriesOf(blobs);
    expect(entries.map(({ cid }) => cid).sort()).toEqual([...cids].sort());
    for (const { storedAt } of entries) expect(storedAt).toBeGreaterThan(before);
    await blobs.remove(cids[0] as string);
    await blobs.remove(cids[0] as string);
    expect(await blobs.has(cids[0] as string)).toBe(false);
    await expect(blobs.get(cids[0] as string)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('what is no block of ours is refused', async () => {
    const blobs = await open();
    await expect(blobs.put(new Uint8Array(limits.blockBytesMax + 1))).rejects.toMatchObject({
      code: 'too_large',
    });
    await expect(blobs.get('../../etc/passwd')).rejects.toMatchObject({ code: 'bad_request' });
    await expect(blobs.remove('../x')).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('a read can be given up', async () => {
    const blobs = await open();
    const cid = await blobs.put(Uint8Array.of(1, 2));
    await expect(blobs.get(cid, AbortSignal.abort(new Error('enough')))).rejects.toThrow(/enough|abort/);
  });
});

describe('s3', () => {
  test('more than one page is listed', async () => {
    const blobs = await openS3Blobs({ ...(await startS3()), pageMax: 7 });
    const cids = await Promise.all(Array.from({ length: 30 }, (_, n) => blobs.put(Uint8Array.of(n))));
    const entries = await entriesOf(blobs);
    expect(entries.map(({ cid }) => cid).sort()).toEqual(cids.sort());
  });

  test('wrong keys and a bucket that is not there are refused at the start, without naming the secret', async () => {
    const options = await startS3();
    for (const wrong of [
      { accessKeyId: 'nobody', secretAccessKey: 'guess-the-secret' },
      { bucket: 'other' },
    ]) {
      const opening = openS3Blobs({ ...options, ...wrong });
      await expect(opening).rejects.toMatchObject({ code: 'bad_config' });
      await expect(opening).rejects.not.toThrow(/guess-the-secret/);
    }
  });
});

describe('disk', () => {
  test('a second process on the folder leaves the drafts of the first alone, and clears old ones', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'tmp'));
    await writeFile(join(folder, 'tmp', 'young'), 'x');
    await writeFile(join(folder, 'tmp', 'old'), 'x');
    await utimes(join(folder, 'tmp', 'old'), 1, 1);
    await openBlobs(folder, { shared: true });
    expect(await readdir(join(folder, 'tmp'))).toEqual(['young']);
    await openBlobs(folder);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });

  test('a block that is put again is young again, so that nobody collects it', async () => {
    const folder = await temporaryFolder();
    const blobs = await openBlobs(folder);
    const bytes = Uint8Array.of(3);
    const cid = cidOfSync(bytes, rawCode);
    await blobs.put(bytes);
    await utimes(join(folder, cid.slice(-2), cid), 1, 1);
    await blobs.put(bytes);
    const [entry] = await entriesOf(blobs);
    expect(entry?.storedAt).toBeGreaterThan(Date.now() - 60_000);
  });
});
