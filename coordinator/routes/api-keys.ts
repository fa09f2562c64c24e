/**
 * API keys: `atoll_<id>_<secret>`, of which only a hash of the secret is stored. The secret has 256 random bits, so a plain SHA-256 of it can be neither guessed
 * nor looked up.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { type KeyInfo, keySchema, type MadeKey, type Scope, scopeSchema } from '#protocol/http/accounts.ts';
import { limits } from '#protocol/limits.ts';
import type { Hex } from 'viem';
import type { Clock, Random } from '../service/ports.ts';
import type { Shelf, ShelfRecord } from '../storage/shelf.ts';
import { type Page, pageOf, readCursor } from '../service/pages.ts';

/** Who holds the key that a request came with. */
export interface Principal {
  keyId: string;
  /** A wallet; null for a key of the operator's. */
  owner: Hex | null;
  scopes: readonly Scope[];
}

const kind = 'key';
/** Where the keys of the operator are listed. */
const operator = 'operator';

const storedSchema = v.object({
  hash: v.string(),
  name: v.string(),
  owner: v.nullable(keySchema.entries.owner),
  scopes: v.array(scopeSchema),
});
type Stored = v.InferOutput<typeof storedSchema>;

export interface ApiKeysPorts {
  shelf: Shelf;
  clock: Clock;
  random: Random;
}

export interface KeyOrder {
  name: string;
  owner: Hex | null;
  scopes: readonly Scope[];
  /** Never unless given. */
  expiresAt?: number;
}

export class ApiKeys {
  readonly #ports: ApiKeysPorts;

  constructor(ports: ApiKeysPorts) {
    this.#ports = ports;
  }

  /** Throws `conflict` when the owner has as many as it may. */
  async make({ name, owner, scopes, expiresAt }: KeyOrder): Promise<MadeKey> {
    const { shelf, clock, random } = this.#ports;
    const now = clock.now();
    const held = await shelf.list(kind, owner ?? operator, { limit: limits.keysPerOwnerMax, now });
    if (owner !== null && held.length >= limits.keysPerOwnerMax) {
      throw new AtollError('conflict', `A wallet may have ${limits.keysPerOwnerMax} keys. End one first.`);
    }
    const id = random.bytes32().slice(2, 18);
    const secret = Buffer.from(random.bytes32().slice(2), 'hex').toString('base64url');
    const stored: Stored = { hash: hashOf(secret), name, owner, scopes: [...scopes] };
    const record: ShelfRecord = {
      kind,
      key: id,
      owner: owner ?? operator,
      value: JSON.stringify(stored),
      createdAt: now,
      expiresAt: expiresAt ?? null,
    };
    if (!(await shelf.add(record, now))) throw new AtollError('internal', 'The id of the key is taken.');
    return { ...infoOf(record, stored), key: `atoll_${id}_${secret}` };
  }

  /** Null for anything but a key that is in force. */
  async find(text: string): Promise<Principal | null> {
    const [, id, secret] = /^atoll_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/.exec(text) ?? [];
    if (id === undefined || secret === undefined) return null;
    const record = await this.#ports.shelf.get(kind, id, this.#ports.clock.now());
    if (!record) return null;
    const { hash, owner, scopes } = v.parse(storedSchema, JSON.parse(record.value));
    if (!timingSafeEqual(Buffer.from(hash), Buffer.from(hashOf(secret)))) return null;
    return { keyId: id, owner, scopes };
  }

  async list(owner: Hex | null, { limit, cursor }: Page): Promise<{ keys: KeyInfo[]; next: string | null }> {
    const after = readCursor(v.tuple([v.string()]), cursor)?.[0];
    const records = await this.#ports.shelf.list(kind, owner ?? operator, {
      ...(after === undefined ? {} : { after }),
      limit: limit + 1,
      now: this.#ports.clock.now(),
    });
    const { rows, next } = pageOf(records, limit, (record) => [record.key]);
    return { keys: rows.map((r) => infoOf(r, v.parse(storedSchema, JSON.parse(r.value)))), next };
  }

  /** Throws `not_found` unless the key is one of the owner's. */
  async end(id: string, owner: Hex | null): Promise<void> {
    const { shelf, clock } = this.#ports;
    const record = await shelf.get(kind, id, clock.now());
    if (record?.owner !== (owner ?? operator)) throw new AtollError('not_found', 'You have no such key.');
    await shelf.take(kind, id, clock.now());
  }
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function infoOf(record: ShelfRecord, { name, owner, scopes }: Stored): KeyInfo {
  return {
    id: record.key,
    name,
    owner,
    scopes,
    createdAt: new Date(record.createdAt).toISOString(),
    expiresAt: record.expiresAt === null ? null : new Date(record.expiresAt).toISOString(),
  };
}
