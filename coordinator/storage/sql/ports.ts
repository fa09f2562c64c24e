/** What the queries that both databases share are given. */
import { AtollError } from '#protocol/errors.ts';
import type { Transaction } from 'kysely';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Database, Db } from './schema.ts';

export type Trx = Transaction<Database>;

export interface SqlPorts {
  /** For reads; each sees what is committed. */
  db: Db;
  /** One durable transaction; resolves once it is. It may run `work` again when the database asks for that. */
  write<T>(work: (trx: Trx) => Promise<T>): Promise<T>;
  /** Units were written by other means than the record's operations: these, or any. */
  onUnits(cids: readonly Cid[] | 'all'): void;
}

/** Values in one statement: SQLite takes 32,766, PostgreSQL 65,535. */
const valuesMax = 8_000;

/** Pieces of a list that fit one statement, at `columns` values each. */
export function chunks<T>(list: readonly T[], columns: number): T[][] {
  const size = Math.max(1, Math.floor(valuesMax / columns));
  const pieces: T[][] = [];
  for (let at = 0; at < list.length; at += size) pieces.push(list.slice(at, at + size));
  return pieces;
}

/**
 * The same methods; what fails in one for another reason than those it names is `storage_failed`. `settled`: what a call waits for before it
 * resolves.
 */
export function guarded<T extends object>(methods: T, settled?: () => Promise<void>): T {
  const wrapped: Record<string, unknown> = {};
  for (const [name, method] of Object.entries(methods)) {
    if (typeof method !== 'function') wrapped[name] = method;
    else {
      wrapped[name] = async (...args: unknown[]): Promise<unknown> => {
        try {
          const value = await (method as (...given: unknown[]) => Promise<unknown>)(...args);
          await settled?.();
          return value;
        } catch (error) {
          throw error instanceof AtollError ? error : databaseFailed(error);
        }
      };
    }
  }
  return wrapped as T;
}

export function databaseFailed(cause: unknown): AtollError {
  return new AtollError(
    'storage_failed',
    'The database could not be read or written. Check that it runs, and its disk space and permissions.',
    { cause },
  );
}
