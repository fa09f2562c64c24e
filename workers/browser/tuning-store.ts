/**
 * A GPU's tuned shapes in IndexedDB, by adapter. A database of its own, so that the key's keeps its version. Where storage is refused the caller is
 * told, and the shapes are tried at each start.
 */
import type { TuningPort } from '#kernels/index.ts';
import { openDatabase, withinTime } from './storage.ts';

const databaseName = 'atoll-tuning';
const storeName = 'choices';

export function storedTuning(failed: (error: unknown) => void): TuningPort {
  return {
    failed,
    get: async (key) => {
      const value = await withinTime(inStore<unknown>('readonly', (store) => store.get(key)));
      return typeof value === 'string' ? value : null;
    },
    set: async (key, value) => {
      await withinTime(inStore('readwrite', (store) => store.put(value, key)));
    },
  };
}

async function inStore<T>(
  mode: IDBTransactionMode,
  ask: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const database = await openDatabase(databaseName, storeName);
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(storeName, mode);
      const request = ask(transaction.objectStore(storeName));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error('aborted'));
      transaction.onerror = () => reject(transaction.error ?? new Error('refused'));
    });
  } finally {
    database.close();
  }
}
