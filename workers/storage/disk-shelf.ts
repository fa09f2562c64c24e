/**
 * A shelf on a disk: a limit in bytes, least recently used first out, over restarts.
 *
 * Nothing on the disk is trusted: a block is hashed when it is first read, so that a write which was cut off, or a file that somebody changed, costs a download and
 * nothing else. When blocks were used is written down now and then (`notes`); what the notes do not know has the time of its file. Others may use the same folder: what they
 * added is seen when room has to be made, and what they removed when it is asked for.
 */
import * as v from 'valibot';
import { type Cid, isCid, verifyBlock } from '#protocol/codec/cid.ts';
import { codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { KeptBlocks } from '../runtime/ports.ts';
import type { Disk, FileFacts, Shelf } from './ports.ts';

const notesSchema = v.record(v.string(), v.tuple([v.number(), v.number()]));

/** Room is made down to this share of the limit, so that it need not be made for every block. */
const roomShare = 0.9;
/** Writes that may fail one after the other before no more are tried. */
const failuresMax = 3;
const notesMs = 5_000;

interface Entry extends FileFacts {
  isVerified: boolean;
}

export interface DiskShelfOptions {
  limitBytes: number;
  now: () => number;
  /** Blocks that are there no longer. */
  onDropped?: (cids: readonly Cid[]) => void;
}

/** Looks through the disk first. Throws `storage_failed` where that is refused. */
export async function openDiskShelf(disk: Disk, options: DiskShelfOptions): Promise<DiskShelf> {
  const shelf = new DiskShelf(disk, options);
  await shelf.look();
  return shelf;
}

export class DiskShelf implements Shelf {
  readonly #disk: Disk;
  readonly #options: DiskShelfOptions;
  readonly #entries = new Map<Cid, Entry>();
  #limitBytes: number;
  #heldBytes = 0;
  #readBytes = 0;
  #failures = 0;
  #why: string | undefined;
  #writing: Promise<void> = Promise.resolve();
  #notedAt: number;
  #isNoted = true;

  constructor(disk: Disk, options: DiskShelfOptions) {
    this.#disk = disk;
    this.#options = options;
    this.#limitBytes = options.limitBytes;
    this.#notedAt = options.now();
  }

  get figures(): KeptBlocks {
    const figures = { heldBytes: this.#heldBytes, limitBytes: this.#limitBytes, readBytes: this.#readBytes };
    return this.#why === undefined ? figures : { ...figures, why: this.#why };
  }

  /** What is known to be there. */
  get cids(): Cid[] {
    return [...this.#entries.keys()];
  }

  has(cid: Cid): boolean {
    return this.#entries.has(cid);
  }

  /** Takes in what is on the disk and not known yet, and forgets what is gone. */
  async look(): Promise<void> {
    const notes = parseNotes(await this.#disk.readNotes().catch(() => undefined));
    const there = new Set<Cid>();
    for await (const name of this.#disk.names()) {
      if (!isCid(name)) continue;
      there.add(name);
      const noted = Object.hasOwn(notes, name) ? notes[name] : undefined;
      const known = this.#entries.get(name);
      if (known && noted) known.usedAt = Math.max(known.usedAt, noted[1]);
      if (known) continue;
      const facts = noted ? { sizeBytes: noted[0], usedAt: noted[1] } : await this.#disk.facts(name);
      if (facts) this.#insert(name, { ...facts, isVerified: false });
    }
    for (const cid of this.cids) if (!there.has(cid)) this.#forget(cid);
  }

  async find(cid: Cid): Promise<Uint8Array | undefined> {
    const bytes = await this.#disk.read(cid).catch(() => undefined);
    if (!bytes) {
      this.#drop(cid);
      return undefined;
    }
    const isVerified = this.#entries.get(cid)?.isVerified === true;
    if (!isVerified && !(await isRight(cid, bytes))) {
      await this.#disk.remove(cid).catch(() => undefined);
      this.#drop(cid);
      return undefined;
    }
    // Another tab's block is taken in, and a size that the notes had wrong is put right.
    this.#forget(cid);
    this.#insert(cid, { sizeBytes: bytes.byteLength, usedAt: this.#options.now(), isVerified: true });
    this.#readBytes += bytes.byteLength;
    this.#isNoted = false;
    return bytes;
  }

  keep(cid: Cid, bytes: Uint8Array): Promise<void> {
    const written = this.#writing.then(() => this.#keep(cid, bytes));
    this.#writing = written.catch(() => undefined);
    return this.#writing;
  }

  async clear(): Promise<void> {
    const cleared = this.#writing.then(() => this.#disk.exclusively(() => this.#disk.clear()));
    this.#writing = cleared.catch(() => undefined);
    await cleared;
    const dropped = this.cids;
    this.#entries.clear();
    this.#heldBytes = 0;
    this.#failures = 0;
    this.#limitBytes = this.#options.limitBytes;
    this.#why = undefined;
    this.#options.onDropped?.(dropped);
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#note();
  }

  async #keep(cid: Cid, bytes: Uint8Array): Promise<void> {
    const entry = this.#entries.get(cid);
    const now = this.#options.now();
    if (entry) entry.usedAt = now;
    this.#isNoted = false;
    if (entry || this.#failures >= failuresMax || bytes.byteLength > this.#limitBytes) return;
    try {
      if (this.#heldBytes + bytes.byteLength > this.#limitBytes) await this.#makeRoom(bytes.byteLength);
      await this.#write(cid, bytes);
      this.#insert(cid, { sizeBytes: bytes.byteLength, usedAt: now, isVerified: true });
      this.#failures = 0;
      if (now - this.#notedAt >= notesMs) await this.#note();
    } catch (error) {
      this.#failures++;
      const isFull = codeOf(error) === 'too_large';
      if (this.#failures >= failuresMax)
        this.#why = isFull
          ? 'There is no room left on this device for more blocks.'
          : 'The storage of this device failed; blocks are kept in memory only.';
    }
  }

  /** Where the disk is full before the limit is reached, that is the limit from now on. */
  async #write(cid: Cid, bytes: Uint8Array): Promise<void> {
    try {
      await this.#disk.write(cid, bytes);
    } catch (error) {
      if (codeOf(error) !== 'too_large' || this.#heldBytes === 0) throw error;
      this.#limitBytes = Math.max(bytes.byteLength, Math.floor(this.#heldBytes * roomShare));
      await this.#makeRoom(bytes.byteLength);
      await this.#disk.write(cid, bytes);
    }
  }

  async #makeRoom(wantedBytes: number): Promise<void> {
    await this.#disk.exclusively(async () => {
      await this.look();
      const most = Math.max(0, Math.floor(this.#limitBytes * roomShare) - wantedBytes);
      const oldest = [...this.#entries].toSorted(([, a], [, b]) => a.usedAt - b.usedAt);
      const dropped: Cid[] = [];
      for (const [cid] of oldest) {
        if (this.#heldBytes <= most) break;
        await this.#disk.remove(cid);
        this.#forget(cid);
        dropped.push(cid);
      }
      if (dropped.length > 0) this.#options.onDropped?.(dropped);
    });
  }

  async #note(): Promise<void> {
    if (this.#isNoted) return;
    this.#isNoted = true;
    this.#notedAt = this.#options.now();
    const notes = [...this.#entries].map(([cid, { sizeBytes, usedAt }]) => [cid, [sizeBytes, usedAt]]);
    await this.#disk.writeNotes(JSON.stringify(Object.fromEntries(notes))).catch(() => undefined);
  }

  #insert(cid: Cid, entry: Entry): void {
    this.#entries.set(cid, entry);
    this.#heldBytes += entry.sizeBytes;
  }

  #forget(cid: Cid): void {
    this.#heldBytes -= this.#entries.get(cid)?.sizeBytes ?? 0;
    this.#entries.delete(cid);
  }

  #drop(cid: Cid): void {
    if (!this.#entries.has(cid)) return;
    this.#forget(cid);
    this.#options.onDropped?.([cid]);
  }
}

async function isRight(cid: Cid, bytes: Uint8Array): Promise<boolean> {
  return verifyBlock(cid, bytes).then(
    () => true,
    () => false,
  );
}

/** Sizes and times by CID; nothing where there are none or they cannot be read. */
function parseNotes(text: string | undefined): Record<string, [number, number]> {
  if (text === undefined || text.length > limits.keptNotesCharsMax) return {};
  try {
    return v.parse(notesSchema, JSON.parse(text));
  } catch {
    return {};
  }
}
