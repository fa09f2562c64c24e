/** Order statistics of what was measured, and how long this machine takes to make a write durable. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { withFolder } from './rig.ts';

/** Of values in ascending order; NaN of none. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

const syncs = 200;

/** Median milliseconds of appending 4 KB and fdatasync. */
export function syncMs(): Promise<number> {
  return withFolder(async (folder) => {
    const fd = openSync(join(folder, 'sync'), 'w');
    const page = Buffer.alloc(4096, 1);
    const times = Array.from({ length: syncs }, () => {
      const startedAt = performance.now();
      writeSync(fd, page);
      fdatasyncSync(fd);
      return performance.now() - startedAt;
    });
    closeSync(fd);
    return percentile(Float64Array.from(times).sort(), 0.5);
  });
}
