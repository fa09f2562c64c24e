/**
 * A folder of blocks in the browser's own file system (OPFS): a file a block, through sync access handles, which exist in dedicated workers only.
 *
 * A file that another tab is writing at this moment counts as not there. A write that a crash cuts off leaves wrong bytes, which the shelf finds out by their hash.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { opfsFolder } from './opfs-folder.ts';
import type { Disk } from './ports.ts';

const notesName = 'used.json';
const lockName = 'atoll-blocks';

/** What TypeScript's DOM does not know: it exists in dedicated workers only. */
interface SyncAccessHandle {
  getSize(): number;
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  close(): void;
}
type WorkerFile = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncAccessHandle> };

/** Throws `storage_failed` where the browser refuses storage, as in some private windows. */
export async function openOpfsDisk(): Promise<Disk> {
  let folder = await guarded(() => openFolder());
  const files = {
    async read(name: string, bytesMax: number): Promise<Uint8Array | undefined> {
      const file = await orAbsent(() => folder.getFileHandle(name));
      if (!file) return undefined;
      const handle = await orAbsent(() => (file as WorkerFile).createSyncAccessHandle());
      if (!handle) return undefined;
      try {
        const size = handle.getSize();
        if (size > bytesMax) return undefined;
        const bytes = new Uint8Array(size);
        return bytes.subarray(0, handle.read(bytes, { at: 0 }));
      } finally {
        handle.close();
      }
    },
    async write(name: string, bytes: Uint8Array): Promise<void> {
      const file = await folder.getFileHandle(name, { create: true });
      // Another tab writes the same block: then it will be there.
      const handle = await orAbsent(() => (file as WorkerFile).createSyncAccessHandle());
      if (!handle) return;
      let written = 0;
      try {
        handle.truncate(0);
        written = handle.write(bytes, { at: 0 });
      } finally {
        handle.close();
        if (written < bytes.byteLength) await folder.removeEntry(name).catch(() => undefined);
      }
      if (written < bytes.byteLength) throw new DOMException('short write', 'QuotaExceededError');
    },
  };
  return {
    names: () => folder.keys(),
    facts: (cid) =>
      orAbsent(async () => {
        const { size, lastModified } = await (await folder.getFileHandle(cid)).getFile();
        return { sizeBytes: size, usedAt: lastModified };
      }),
    read: (cid: Cid) => guarded(() => files.read(cid, limits.blockBytesMax)),
    write: (cid, bytes) => guarded(() => files.write(cid, bytes)),
    remove: (cid) => orAbsent(() => folder.removeEntry(cid)),
    clear: () =>
      guarded(async () => {
        const root = await navigator.storage.getDirectory();
        await root.removeEntry(opfsFolder, { recursive: true });
        folder = await openFolder();
      }),
    async readNotes() {
      const bytes = await guarded(() => files.read(notesName, limits.keptNotesCharsMax));
      return bytes && new TextDecoder().decode(bytes);
    },
    writeNotes: (text) => guarded(() => files.write(notesName, new TextEncoder().encode(text))),
    exclusively: async (run) => navigator.locks.request(lockName, run),
  };
}

async function openFolder(): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(opfsFolder, { create: true });
}

/** What is not there, and what another tab has open, is undefined. */
async function orAbsent<T>(task: () => Promise<T>): Promise<T | undefined> {
  try {
    return await task();
  } catch (error) {
    const { name } = error as DOMException;
    if (name === 'NotFoundError' || name === 'NoModificationAllowedError') return undefined;
    throw asFailure(error);
  }
}

async function guarded<T>(task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    throw error instanceof AtollError ? error : asFailure(error);
  }
}

function asFailure(cause: unknown): AtollError {
  if ((cause as DOMException).name === 'QuotaExceededError')
    return new AtollError('too_large', 'The browser gives this page no more room.', { cause });
  return new AtollError('storage_failed', 'This browser refuses storage.', { cause });
}
