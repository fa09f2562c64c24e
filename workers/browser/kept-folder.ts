/**
 * What this origin keeps of blocks, seen from the page itself while no contributor runs: how much, and how to delete it. Makes nothing, and nothing of the contributor is
 * loaded for it.
 */
import { opfsFolder } from '../storage/opfs-folder.ts';

/** Bytes; 0 where nothing is kept or storage is refused. */
export async function keptBytes(): Promise<number> {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(opfsFolder);
    let total = 0;
    for await (const handle of folder.values())
      if (handle.kind === 'file') total += (await (handle as FileSystemFileHandle).getFile()).size;
    return total;
  } catch {
    return 0;
  }
}

/** Rejects while another tab is reading or writing a block: then Stop it there first, or try again. */
export async function deleteKept(): Promise<void> {
  const root = await navigator.storage.getDirectory();
  try {
    await root.removeEntry(opfsFolder, { recursive: true });
  } catch (error) {
    if ((error as DOMException).name !== 'NotFoundError') throw error;
  }
}
