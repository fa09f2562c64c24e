/**
 * Small tables that no operation of the record touches (keys of clients, links of wallets, nonces, repeated requests), and what can be done with
 * any of them. Each call is one durable transaction. A table that is added here gets its columns below and a migration.
 */
import type { Hex } from 'viem';
import { describeTable, type Table } from '../record/tables.ts';

/** A key of a client of the HTTP interface; the key itself is stored nowhere. */
export interface ApiKeyRow {
  /** The public part of the key. */
  id: string;
  /** sha256 of the secret part. */
  hash: Hex;
  /** Whose it is; null for one that was made on the command line. */
  owner: Hex | null;
  name: string;
  /** Words with a space between. */
  scopes: string;
  createdAt: number;
  lastUsedAt: number | null;
  revokedAt: number | null;
}

/** A wallet that answers for a contributor, proven by signatures of both. */
export interface WalletLinkRow {
  contributor: Hex;
  wallet: Hex;
  linkedAt: number;
}

/** A challenge given out; taking it away is what uses it up. */
export interface NonceRow {
  nonce: string;
  purpose: string;
  expiresAt: number;
}

/** The answer that was given to a request, for the same request sent again. */
export interface IdempotencyRow {
  /** Who asked, and the key they chose. */
  id: string;
  /** sha256 of method, path and body. */
  request: Hex;
  /** 0 while the first one is being answered. */
  status: number;
  body: string;
  expiresAt: number;
}

/** A wallet that has signed in; the token itself is stored nowhere. */
export interface WalletSessionRow {
  /** sha256 of the token. */
  hash: Hex;
  wallet: Hex;
  createdAt: number;
  expiresAt: number;
}

/** The names are those of the tables. */
export interface SmallRows {
  api_keys: ApiKeyRow;
  wallet_links: WalletLinkRow;
  nonces: NonceRow;
  idempotency: IdempotencyRow;
  wallet_sessions: WalletSessionRow;
}
export type SmallTable = keyof SmallRows;

export const smallTables: { readonly [T in SmallTable]: Table } = {
  api_keys: describeTable<ApiKeyRow>(
    'api_keys',
    {
      id: 'text',
      hash: 'text',
      owner: 'text',
      name: 'text',
      scopes: 'text',
      createdAt: 'integer',
      lastUsedAt: 'integer',
      revokedAt: 'integer',
    },
    ['id'],
  ),
  wallet_links: describeTable<WalletLinkRow>(
    'wallet_links',
    { contributor: 'text', wallet: 'text', linkedAt: 'integer' },
    ['contributor'],
  ),
  nonces: describeTable<NonceRow>('nonces', { nonce: 'text', purpose: 'text', expiresAt: 'integer' }, [
    'nonce',
  ]),
  idempotency: describeTable<IdempotencyRow>(
    'idempotency',
    { id: 'text', request: 'text', status: 'integer', body: 'text', expiresAt: 'integer' },
    ['id'],
  ),
  wallet_sessions: describeTable<WalletSessionRow>(
    'wallet_sessions',
    { hash: 'text', wallet: 'text', createdAt: 'integer', expiresAt: 'integer' },
    ['hash'],
  ),
};

/** Tables whose rows end by themselves. */
export type Expiring = {
  [T in SmallTable]: SmallRows[T] extends { expiresAt: number } ? T : never;
}[SmallTable];

export interface SmallStore {
  /** False when a row with its key is there; nothing is changed then. */
  insert<T extends SmallTable>(table: T, row: SmallRows[T]): Promise<boolean>;
  /** Rows with exactly these values, oldest key first; at most `most`, after the row with the key `after`. */
  find<T extends SmallTable>(
    table: T,
    where: Partial<SmallRows[T]>,
    page?: { after?: string; most?: number },
  ): Promise<SmallRows[T][]>;
  /** How many rows with exactly these values have been changed: 0 or 1 where the key is among them. */
  update<T extends SmallTable>(
    table: T,
    where: Partial<SmallRows[T]>,
    change: Partial<SmallRows[T]>,
  ): Promise<number>;
  /** Takes rows away and gives them back: of two that ask for the same one at a time, only one gets it. */
  take<T extends SmallTable>(table: T, where: Partial<SmallRows[T]>): Promise<SmallRows[T][]>;
  /** Drops rows whose time was over before `now`. */
  expire(table: Expiring, now: number): Promise<number>;
}
