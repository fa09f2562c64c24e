/** IndexedDB as this project uses it: a database with one store, and no waiting for one that never answers. */

/** Some browsers leave a refused database pending for ever. */
const storageMsMax = 3_000;

/** Rejects where storage is refused. Whoever opens it closes it. */
export function openDatabase(name: string, store: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(store);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('refused'));
  });
}

export function withinTime<T>(task: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error('The storage did not answer.')), storageMsMax);
    task.then(resolve, reject);
  });
}
