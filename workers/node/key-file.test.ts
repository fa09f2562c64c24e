/** The key file on a real disk: who may read it, and what happens when it is not one. */
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadSigner } from './key-file.ts';

let dir: string;
beforeEach(async () => (dir = await mkdtemp(path.join(tmpdir(), 'atoll-key-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('loadSigner', () => {
  it('makes a key for its owner only, and finds it again', async () => {
    const file = path.join(dir, 'deep', 'er', 'a.key');
    const { address } = await loadSigner(file);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await loadSigner(file)).address).toBe(address);
    expect(await readdir(path.dirname(file))).toEqual(['a.key']);
  });

  it('gives everybody the same key when many start at once', async () => {
    const file = path.join(dir, 'a.key');
    const signers = await Promise.all(Array.from({ length: 8 }, () => loadSigner(file)));
    const addresses = signers.map(({ address }) => address);
    expect(new Set(addresses).size).toBe(1);
  });

  it('refuses a key that others can read, naming the remedy', async () => {
    const file = path.join(dir, 'a.key');
    await loadSigner(file);
    await chmod(file, 0o644);
    await expect(loadSigner(file)).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringMatching(/chmod 600/),
    });
  });

  it.each(['', 'nonsense', `0x${'ff'.repeat(32)}`, `0x${'00'.repeat(32)}`])(
    'refuses %j without quoting it',
    async (text) => {
      const file = path.join(dir, 'a.key');
      await writeFile(file, text, { mode: 0o600 });
      const error = await loadSigner(file).then(
        () => null,
        (reason: unknown) => reason as Error & { code: string },
      );
      expect(error).toMatchObject({ code: 'bad_config', message: expect.stringMatching(/holds no key/) });
      if (text) expect(`${error?.message} ${String(error?.cause)}`).not.toContain(text);
    },
  );

  it('says what to do where it cannot write', async () => {
    await writeFile(path.join(dir, 'file'), '');
    await expect(loadSigner(path.join(dir, 'file', 'a.key'))).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringMatching(/--data-dir/),
    });
  });
});
