/** Pages of lists: a cursor is the sort key of the last row shown, so that rows which come or go between two pages neither repeat nor hide others. */
import { Buffer } from 'node:buffer';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';

export interface Page {
  limit: number;
  cursor?: string | undefined;
}

/** `rows` holds one more than the page, where there is one. */
export function pageOf<T>(
  rows: readonly T[],
  limit: number,
  keyOf: (row: T) => readonly (string | number)[],
): { rows: T[]; next: string | null } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const next = rows.length > limit && last !== undefined ? writeCursor(keyOf(last)) : null;
  return { rows: shown, next };
}

export function writeCursor(key: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** Undefined without a cursor. Throws `bad_request` for one that this list never gave. */
export function readCursor<S extends v.GenericSchema>(
  schema: S,
  cursor: string | undefined,
): v.InferOutput<S> | undefined {
  if (cursor === undefined) return undefined;
  try {
    return v.parse(schema, JSON.parse(Buffer.from(cursor, 'base64url').toString()));
  } catch (cause) {
    throw new AtollError('bad_request', 'This cursor is not of this list. Start without one.', { cause });
  }
}
