/**
 * Where a node's control socket is: `NAME.sock` in its data folder, so that who may enter the folder and read the file may speak to the node.
 *
 * The kernel takes about a hundred bytes of such a path. On Linux a longer one is reached through an open handle of the folder.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';

/** Of the kernels' 108 (Linux) and 104 (macOS), less the end and a name for the moment of making. */
const pathBytesMax = 90;
const suffix = '.sock';

export interface Address {
  /** For a person, and where the file is. */
  file: string;
  /** What `listen` and `connect` take. */
  path: string;
  /** A sibling in the same folder. */
  beside(name: string): string;
  close(): void;
}

/** Close it when listening or connected. Throws `bad_config` where the path is too long, and as `open` does. */
export function openAddress(dataDir: string, name: string): Address {
  const file = path.resolve(dataDir, `${name}${suffix}`);
  if (process.platform === 'win32') {
    const digest = createHash('sha256').update(file.toLowerCase()).digest('hex').slice(0, 32);
    const pipe = `\\\\.\\pipe\\atoll-${digest}`;
    return { file, path: pipe, beside: (other) => `${pipe}-${other}`, close: () => {} };
  }
  const folder = path.dirname(file);
  if (Buffer.byteLength(file) <= pathBytesMax) {
    return { file, path: file, beside: (other) => path.join(folder, other), close: () => {} };
  }
  if (process.platform !== 'linux') {
    throw new AtollError(
      'bad_config',
      `The path ${file} is too long for a control socket; choose a shorter --data-dir.`,
    );
  }
  const handle = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  const near = `/proc/self/fd/${handle}`;
  return {
    file,
    path: `${near}/${path.basename(file)}`,
    beside: (other) => `${near}/${other}`,
    close: () => closeSync(handle),
  };
}

/** Names of the nodes that have, or had, a socket in a data folder. */
export async function namesIn(dataDir: string): Promise<string[]> {
  const entries = await readdir(dataDir).catch(() => []);
  return entries
    .filter((entry) => entry.endsWith(suffix) && !entry.startsWith('.'))
    .map((entry) => entry.slice(0, -suffix.length))
    .sort();
}
