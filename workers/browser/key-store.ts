/**
 * The contributor's key in IndexedDB, made on first use. Tabs that start at once end up with one key: reading and making it are one
 * transaction. Where storage is refused the key lives as long as the tab.
 */
import type { Signer } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';

const databaseName = 'atoll';
const storeName = 'keys';
const keyName = 'contributor';
/** Some browsers leave a refused database pending for ever. */
const storageMsMax = 3_000;

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
  const database = await openDatabase();
  try {
    return await getOrMake(database);
  } finally {
    database.close();
  }
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(databaseName, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(storeName);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('refused'));
  });
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

function withinTime<T>(task: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('The storage did not answer.')), storageMsMax);
    task.then(resolve, reject);
  });
}
