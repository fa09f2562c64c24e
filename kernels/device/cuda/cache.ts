/**
 * Compiled kernels on disk, so that only the first start of a node compiles. A file is named by all that went into it, and holds its own digest: a torn or a
 * changed one counts as missing. Written beside and renamed, so that several nodes may share a folder.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { CudaSource } from './launch.ts';

/** Files kept; the least lately used go. A device's kernels are fewer than a hundred. */
const filesMax = 1024;
const imageBytesMax = 64 * 2 ** 20;
const digestBytes = 32;
const suffix = '.cubin';

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest();

/** What a compiled source is good for. */
export function cacheKey(source: CudaSource, architecture: string, compiler: string): string {
  return sha256(JSON.stringify([source.parts, architecture, compiler])).toString('hex');
}

export class CubinCache {
  private readonly folder: string;
  private readonly warn: (error: unknown) => void;
  private pruned = false;

  /** `warn` is told when the disk does not take a file; compiling goes on without. */
  constructor(folder: string, warn: (error: unknown) => void = () => {}) {
    this.folder = folder;
    this.warn = warn;
  }

  async get(key: string): Promise<Uint8Array | null> {
    const file = path.join(this.folder, key + suffix);
    try {
      if ((await stat(file)).size > imageBytesMax) return null;
      const bytes = await readFile(file);
      const image = bytes.subarray(digestBytes);
      if (!sha256(image).equals(bytes.subarray(0, digestBytes))) return null;
      const now = new Date();
      await utimes(file, now, now).catch(() => {});
      return image;
    } catch {
      return null;
    }
  }

  async put(key: string, image: Uint8Array): Promise<void> {
    const half = path.join(this.folder, `${randomUUID()}.half`);
    try {
      // Code that others could write would be code that they could run.
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await writeFile(half, Buffer.concat([sha256(image), image]), { mode: 0o600 });
      await rename(half, path.join(this.folder, key + suffix));
      if (!this.pruned) await this.prune();
    } catch (error) {
      await rm(half, { force: true }).catch(() => {});
      this.warn(error);
    }
  }

  /** Once in a process is enough. */
  private async prune(): Promise<void> {
    this.pruned = true;
    const names = (await readdir(this.folder)).filter((name) => name.endsWith(suffix));
    if (names.length <= filesMax) return;
    const files = await Promise.all(
      names.map(async (name) => {
        const file = path.join(this.folder, name);
        return { file, at: (await stat(file).catch(() => null))?.mtimeMs ?? 0 };
      }),
    );
    files.sort((a, b) => a.at - b.at);
    for (const { file } of files.slice(0, files.length - filesMax)) await rm(file, { force: true });
  }
}
