/**
 * A contributor's key in a file that only its owner can read. Made on first use; two processes that start at once end up with one key.
 */
import { randomUUID } from 'node:crypto';
import { chmod, link, mkdir, readFile, stat, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';

/** Throws `bad_config` naming the remedy: unwritable folder, readable by others, not a key. */
export async function loadSigner(file: string): Promise<Signer> {
  const text = (await readKey(file)) ?? (await makeKey(file));
  if (!/^0x[0-9a-f]{64}$/.test(text)) throw notAKey(file);
  try {
    return signerFromKey(text as Hex);
  } catch {
    throw notAKey(file); // without the cause: it might quote the key
  }
}

async function readKey(file: string): Promise<string | null> {
  try {
    const { mode } = await stat(file);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      throw new AtollError('bad_config', `The key file ${file} is open to others. Run: chmod 600 ${file}`);
    }
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw asConfigError(file, error);
  }
}

/** Written whole under another name, then linked: a reader never sees half a key, and the first one wins. */
async function makeKey(file: string): Promise<string> {
  const draft = `${file}.${randomUUID()}.new`;
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(draft, `${createKey()}\n`, { mode: 0o600, flag: 'wx' });
    await chmod(draft, 0o600);
    try {
      await link(draft, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      await unlink(draft);
    }
  } catch (error) {
    throw asConfigError(file, error);
  }
  return (await readKey(file)) ?? '';
}

function asConfigError(file: string, error: unknown): AtollError {
  if (error instanceof AtollError) return error;
  const { code = 'unknown error' } = error as NodeJS.ErrnoException;
  return new AtollError(
    'bad_config',
    `The key file ${file} cannot be used (${code}). Choose a folder you can write to with --data-dir, or another file with --key-file.`,
    { cause: error },
  );
}

function notAKey(file: string): AtollError {
  return new AtollError(
    'bad_config',
    `The file ${file} holds no key (0x and 64 hex digits). Choose another with --key-file, or move it away to get a new one.`,
  );
}
