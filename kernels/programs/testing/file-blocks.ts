/** Blocks as files of one directory: a store for checkpoints that should not lie in memory. Node only; for measurements and tests. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Cid, cidOfBlock, rawCode } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';

export class FileBlocks implements BlockStore {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  async get(cid: Cid): Promise<Uint8Array> {
    return readFile(path.join(this.directory, cid));
  }

  async put(bytes: Uint8Array, code: number = rawCode): Promise<Cid> {
    const cid = await cidOfBlock(bytes, code);
    await mkdir(this.directory, { recursive: true });
    await writeFile(path.join(this.directory, cid), bytes);
    return cid;
  }
}
