/**
 * Small records that the HTTP side keeps: API keys, sign-in nonces, wallet links, answers to repeatable requests. One table, five methods.
 *
 * A record is JSON text under (kind, key), with an owner to list it by and a time after which it counts as gone. Every method is durable when it
 * resolves and atomic over all processes: of two that add or take the same key, one succeeds.
 */

export interface ShelfRecord {
  kind: string;
  key: string;
  /** What it is listed by; empty for nobody. */
  owner: string;
  /** JSON. */
  value: string;
  createdAt: number;
  /** Milliseconds since the epoch; null keeps it. */
  expiresAt: number | null;
}

export interface Shelf {
  /** False, and nothing changed, when a record that has not expired is there already. */
  add(record: ShelfRecord, now: number): Promise<boolean>;
  /** Adds or replaces. */
  put(record: ShelfRecord): Promise<void>;
  get(kind: string, key: string, now: number): Promise<ShelfRecord | null>;
  /** Removes and returns it: of all who try, one gets it. */
  take(kind: string, key: string, now: number): Promise<ShelfRecord | null>;
  /** By owner, in the order of keys, after `after` where it is given. */
  list(
    kind: string,
    owner: string,
    options: { after?: string; limit: number; now: number },
  ): Promise<ShelfRecord[]>;
  /** Removes what has expired; resolves with how many records. */
  sweep(now: number): Promise<number>;
}

/** In the memory of one process: for tests, and for a coordinator whose records need not last. */
export class MemoryShelf implements Shelf {
  readonly #records = new Map<string, ShelfRecord>();

  async add(record: ShelfRecord, now: number): Promise<boolean> {
    if (this.#live(record.kind, record.key, now)) return false;
    this.#records.set(idOf(record.kind, record.key), record);
    return true;
  }

  async put(record: ShelfRecord): Promise<void> {
    this.#records.set(idOf(record.kind, record.key), record);
  }

  async get(kind: string, key: string, now: number): Promise<ShelfRecord | null> {
    return this.#live(kind, key, now);
  }

  async take(kind: string, key: string, now: number): Promise<ShelfRecord | null> {
    const record = this.#live(kind, key, now);
    this.#records.delete(idOf(kind, key));
    return record;
  }

  async list(
    kind: string,
    owner: string,
    { after = '', limit, now }: { after?: string; limit: number; now: number },
  ): Promise<ShelfRecord[]> {
    return [...this.#records.values()]
      .filter((record) => record.kind === kind && record.owner === owner && record.key > after)
      .filter((record) => this.#live(kind, record.key, now) !== null)
      .toSorted((a, b) => (a.key < b.key ? -1 : 1))
      .slice(0, limit);
  }

  async sweep(now: number): Promise<number> {
    let swept = 0;
    for (const [id, record] of this.#records) {
      if (record.expiresAt === null || record.expiresAt > now) continue;
      this.#records.delete(id);
      swept++;
    }
    return swept;
  }

  #live(kind: string, key: string, now: number): ShelfRecord | null {
    const record = this.#records.get(idOf(kind, key));
    return record && (record.expiresAt === null || record.expiresAt > now) ? record : null;
  }
}

function idOf(kind: string, key: string): string {
  return `${kind}\n${key}`;
}
