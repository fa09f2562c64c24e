/**
 * The tables of the record, described once: columns, their kinds, keys. What reads and writes rows (SQLite, PostgreSQL, the memory store's
 * archive) goes by this, so a column that is added costs a line here, a line in `rows.ts` and a migration.
 *
 * How a kind is stored: `boolean` as 0 and 1, `bigint` as a decimal (they outgrow 64 bits), both in every database alike, so that one query
 * text serves all.
 */
import type {
  AccountRow,
  ContributorRow,
  DeviceRow,
  ReplicaRow,
  Rows,
  TableName,
  Transfer,
  UnitRow,
} from './rows.ts';

export type Kind = 'text' | 'integer' | 'real' | 'boolean' | 'bigint' | 'bytes';

/** The kinds that a field of a row may have. */
type KindOf<V> = V extends Uint8Array
  ? 'bytes'
  : V extends boolean
    ? 'boolean'
    : V extends bigint
      ? 'bigint'
      : V extends number
        ? 'integer' | 'real'
        : 'text';
export type Kinds<Row> = { readonly [K in keyof Row]-?: KindOf<NonNullable<Row[K]>> };

/** camelCase -> snake_case, as `columnOf` does. */
export type Snake<S extends string> = S extends `${infer Head}${infer Rest}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${Snake<Rest>}`
  : '';

export interface Column {
  /** Name of the field in the row, and of the column in the database. */
  field: string;
  column: string;
  kind: Kind;
}

export interface Table {
  name: string;
  columns: readonly Column[];
  /** Columns of the primary key. */
  key: readonly Column[];
  /** What an update may change: the columns outside the key that are not `fixed`. */
  changing: readonly Column[];
}

/** The column of a field: `leasedAt` -> `leased_at`. */
export function columnOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `fixed`: fields that never change once the row is there. */
export function describeTable<Row>(
  name: string,
  kinds: Kinds<Row>,
  key: readonly (keyof Row & string)[],
  fixed: readonly (keyof Row & string)[] = [],
): Table {
  const columns = Object.entries(kinds).map(([field, kind]): Column => ({
    field,
    column: columnOf(field),
    kind: kind as Kind,
  }));
  const keys: readonly string[] = key;
  const never: readonly string[] = [...key, ...fixed];
  return {
    name,
    columns,
    key: keys.map((field) => columns.find((column) => column.field === field) as Column),
    changing: columns.filter((column) => !never.includes(column.field)),
  };
}

const units: Kinds<UnitRow> = {
  cid: 'text',
  job: 'text',
  bytes: 'bytes',
  program: 'text',
  operations: 'integer',
  quality: 'integer',
  memoryBytes: 'integer',
  checkpoint: 'text',
  phase: 'text',
  attempt: 'integer',
  target: 'integer',
  quorum: 'integer',
  splits: 'integer',
  until: 'integer',
  digest: 'text',
  result: 'bytes',
  reason: 'text',
  wanted: 'integer',
  dueAt: 'integer',
  queue: 'real',
  paused: 'boolean',
  sealed: 'boolean',
  spare: 'boolean',
  rechecks: 'integer',
  overturned: 'boolean',
  plannedAt: 'integer',
  acceptedAt: 'integer',
};

const replicas: Kinds<ReplicaRow> = {
  assignment: 'text',
  unit: 'text',
  attempt: 'integer',
  purpose: 'text',
  contributor: 'text',
  owner: 'text',
  prefix: 'text',
  device: 'text',
  vendor: 'text',
  weight: 'integer',
  state: 'text',
  leasedAt: 'integer',
  deadline: 'integer',
  commitment: 'text',
  commitSignature: 'text',
  salt: 'text',
  digest: 'text',
  result: 'bytes',
  revealSignature: 'text',
  credit: 'bigint',
  settledAt: 'integer',
};

const contributors: Kinds<ContributorRow> = {
  address: 'text',
  owner: 'text',
  prefix: 'text',
  device: 'text',
  vendor: 'text',
  tier: 'text',
  stake: 'bigint',
  agreed: 'integer',
  rejected: 'integer',
  faults: 'integer',
  strikes: 'real',
  lastRejectedAt: 'integer',
  outlawedAt: 'integer',
  trustedAt: 'integer',
  reviewFrom: 'text',
  firstSeenAt: 'integer',
  lastSeenAt: 'integer',
};

const devices: Kinds<DeviceRow> = {
  contributor: 'text',
  device: 'text',
  verified: 'integer',
  streak: 'integer',
  alone: 'integer',
  faults: 'integer',
  speed: 'real',
};

const accounts: Kinds<AccountRow> = { id: 'text', balance: 'bigint' };

/** A transfer as it is written; `id` is the database's own count, `seq` and `hash` the sealer's. */
export const transferKinds: Kinds<Omit<Transfer, 'seq'>> = {
  kind: 'text',
  debit: 'text',
  credit: 'text',
  amount: 'bigint',
  job: 'text',
  unit: 'text',
  assignment: 'text',
  reason: 'text',
  at: 'integer',
};

export const tables: { readonly [T in TableName]: Table } = {
  units: describeTable<Rows['units']>(
    'units',
    units,
    ['cid'],
    ['job', 'bytes', 'program', 'operations', 'quality', 'memoryBytes', 'checkpoint', 'plannedAt'],
  ),
  replicas: describeTable<Rows['replicas']>(
    'replicas',
    replicas,
    ['assignment'],
    ['unit', 'attempt', 'contributor', 'leasedAt'],
  ),
  contributors: describeTable<Rows['contributors']>(
    'contributors',
    contributors,
    ['address'],
    ['firstSeenAt'],
  ),
  devices: describeTable<Rows['devices']>('devices', devices, ['contributor', 'device']),
  accounts: describeTable<Rows['accounts']>('accounts', accounts, ['id']),
};

/** The value that a database stores. */
export type Stored = string | number | Uint8Array | null;

/** A field of a row -> what the database stores. */
export function toStored(value: unknown, kind: Kind): Stored {
  if (value === null || value === undefined) return null;
  if (kind === 'boolean') return value ? 1 : 0;
  if (kind === 'bigint') return String(value);
  return value as Stored;
}

/** What the database gave -> the field; integers may come as text, bytes as a Buffer. */
export function fromStored(value: unknown, kind: Kind): unknown {
  if (value === null || value === undefined) return null;
  if (kind === 'boolean') return Number(value) !== 0;
  if (kind === 'bigint') return BigInt(value as string | number | bigint);
  if (kind === 'integer' || kind === 'real') return Number(value);
  if (kind === 'bytes') return plainBytes(value as Uint8Array);
  return value;
}

/** A plain view of a blob column. */
export function plainBytes(blob: Uint8Array): Uint8Array {
  return new Uint8Array(blob.buffer, blob.byteOffset, blob.byteLength);
}

/** A row as the database names its columns -> the row. */
export function rowOf<T extends TableName>(name: T, stored: Readonly<Record<string, unknown>>): Rows[T] {
  const row: Record<string, unknown> = {};
  for (const { field, column, kind } of tables[name].columns) row[field] = fromStored(stored[column], kind);
  return row as unknown as Rows[T];
}

/** A row as the database names its columns. */
export type StoredRow<Row> = {
  [K in keyof Row & string as Snake<K>]: Row[K] extends boolean
    ? number
    : Row[K] extends bigint
      ? string
      : Row[K];
};

/** The row -> what an insert takes. */
export function storedRow<T extends TableName>(name: T, row: Rows[T]): StoredRow<Rows[T]> {
  const fields = row as unknown as Record<string, unknown>;
  const stored: Record<string, Stored> = {};
  for (const { field, column, kind } of tables[name].columns) stored[column] = toStored(fields[field], kind);
  return stored as StoredRow<Rows[T]>;
}
