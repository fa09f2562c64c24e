/**
 * The contributor's key in IndexedDB, made on first use. Tabs that start at once end up with one key: reading and making it are one
 * transaction. Where storage is refused the key lives as long as the tab.
 */
import type { Signer } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { openDatabase, withinTime } from './storage.ts';

const databaseName = 'atoll';
const storeName = 'keys';
const keyName = 'contributor';

export interface LoadedSigner {
  signer: Signer;
  /** Whether the same key will be here next time. */
  isKept: boolean;
}

export async function loadSigner(): Promise<LoadedSigner> {
  const kept = await withinTime(storedKey()).catch(() => null);
  if (kept) {
    try {
      return { signer: signerFromKey(kept), isKept: true };
    } catch {
      // What is stored is no key; this tab goes on with one of its own.
    }
  }
  return { signer: signerFromKey(createKey()), isKept: false };
}

async function storedKey(): Promise<Hex> {
  const database = await openDatabase(databaseName, storeName);
  try {
    return await getOrMake(database);
  } finally {
    database.close();
  }
}

function getOrMake(database: IDBDatabase): Promise<Hex> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(storeName, 'readwrite', { durability: 'strict' });
    const store = transaction.objectStore(storeName);
    let key: Hex | undefined;
    const request = store.get(keyName) as IDBRequest<Hex | undefined>;
    request.onsuccess = () => {
      key = request.result;
      if (key === undefined) store.put((key = createKey()), keyName);
    };
    transaction.oncomplete = () => resolve(key as Hex);
    transaction.onabort = () => reject(transaction.error ?? new Error('aborted'));
    transaction.onerror = () => reject(transaction.error ?? new Error('refused'));
  });
}
