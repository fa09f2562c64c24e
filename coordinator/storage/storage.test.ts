/** The blocks on disk and the lock of the data directory. */
import { spawn } from 'node:child_process';
import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { temporaryFolder } from '../testing/harness.ts';
import { countBlobs, openBlobs } from './blobs.ts';
import { lockDataDir } from './lock.ts';

describe('blocks', () => {
  test('are kept, verified when read, and shared by equal content', async () => {
    const folder = await temporaryFolder();
    const blobs = await openBlobs(folder);
    const bytes = Uint8Array.of(1, 2, 3);
    const cid = await blobs.put(bytes);
    expect(await blobs.put(bytes)).toBe(cid);
    expect(await blobs.get(cid)).toEqual(bytes);
    expect(await countBlobs(folder)).toBe(1);
    await writeFile(join(folder, cid.slice(-2), cid), Uint8Array.of(9));
    await expect(blobs.get(cid)).rejects.toMatchObject({ code: 'bad_block' });
    const absent = cidOfSync(Uint8Array.of(5), rawCode);
    await expect(blobs.get(absent)).rejects.toMatchObject({ code: 'not_found' });
    await expect(blobs.get('../../etc/passwd')).rejects.toMatchObject({ code: 'bad_request' });
    await expect(blobs.put(new Uint8Array((1 << 20) + 1))).rejects.toMatchObject({ code: 'too_large' });
  });

  test('a disk that takes no more gives storage_failed and leaves nothing half-written', async () => {
    const folder = await temporaryFolder();
    // A real limit on file size: the kernel refuses the write as it would on a full disk.
    const script = `
      const { openBlobs } = await import('#coordinator/storage/blobs.ts');
      const blobs = await openBlobs(${JSON.stringify(folder)});
      const small = await blobs.put(new Uint8Array(100));
      const failure = await blobs.put(new Uint8Array(900_000)).catch((error) => error.code);
      console.log(JSON.stringify({ failure, kept: (await blobs.get(small)).length }));`;
    const output = await runLimited(script);
    expect(JSON.parse(output)).toEqual({ failure: 'storage_failed', kept: 100 });
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    expect(await countBlobs(folder)).toBe(1);
  });

  test('what an earlier process left half-written is cleared', async () => {
    const folder = await temporaryFolder();
    await openBlobs(folder);
    await writeFile(join(folder, 'tmp', 'half'), 'x');
    await openBlobs(folder);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });
});

/** Runs a module in a child process whose files may not grow beyond 256 KiB. */
function runLimited(script: string): Promise<string> {
  const shell = `trap '' XFSZ; ulimit -f 256; exec "$0" --input-type=module -e "$1"`;
  const child = spawn('bash', ['-c', shell, process.execPath, script]);
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    child.on('error', reject);
    child.on('exit', () => resolve(output));
  });
}

describe('the data directory', () => {
  test('is for one coordinator at a time', async () => {
    const folder = await temporaryFolder();
    const lock = lockDataDir(folder);
    expect(() => lockDataDir(folder)).toThrowError(
      expect.objectContaining({
        code: 'bad_config',
        message: expect.stringContaining('Another coordinator') as string,
      }),
    );
    lock.release();
    lockDataDir(folder).release();
  });

  test('a lock dies with its process, even by kill -9', async () => {
    const folder = await temporaryFolder();
    const script = `
      const { lockDataDir } = await import('#coordinator/storage/lock.ts');
      globalThis.lock = lockDataDir(${JSON.stringify(folder)});
      console.log('locked');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
    expect(() => lockDataDir(folder)).toThrow('Another coordinator');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    lockDataDir(folder).release();
  });

  test('that cannot be written is refused with the remedy', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'file'), '');
    expect(() => lockDataDir(join(folder, 'file', 'below'))).toThrowError(
      expect.objectContaining({
        code: 'bad_config',
        message: expect.stringContaining('cannot be written') as string,
      }),
    );
    if (process.platform === 'linux') {
      expect(() => lockDataDir('/proc/atoll/below')).toThrow('cannot be written');
    }
    // Root may write anywhere, so permissions show only to others.
    if (process.getuid?.() === 0) return;
    await chmod(folder, 0o500);
    expect(() => lockDataDir(join(folder, 'below'))).toThrow('cannot be written');
  });
});
