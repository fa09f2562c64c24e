/** A disk in memory that can be full, broken or changed behind the shelf's back. */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { Disk } from '../ports.ts';

export class MemoryDisk implements Disk {
  readonly files = new Map<string, { bytes: Uint8Array; usedAt: number }>();
  notes: string | undefined;
  /** Bytes that it takes at most. */
  roomBytes = Infinity;
  broken = false;
  reads = 0;
  writes = 0;
  readonly now: () => number;

  constructor(now: () => number) {
    this.now = now;
  }

  async *names(): AsyncGenerator<string> {
    yield* this.files.keys();
  }

  async facts(cid: Cid) {
    const file = this.files.get(cid);
    return file && { sizeBytes: file.bytes.byteLength, usedAt: file.usedAt };
  }

  async read(cid: Cid): Promise<Uint8Array | undefined> {
    this.#check();
    this.reads++;
    return this.files.get(cid)?.bytes.slice();
  }

  async write(cid: Cid, bytes: Uint8Array): Promise<void> {
    this.#check();
    this.writes++;
    const held = [...this.files.values()].reduce((sum, file) => sum + file.bytes.byteLength, 0);
    if (held + bytes.byteLength > this.roomBytes) throw new AtollError('too_large', 'full');
    this.files.set(cid, { bytes: bytes.slice(), usedAt: this.now() });
  }

  async remove(cid: Cid): Promise<void> {
    this.files.delete(cid);
  }

  async clear(): Promise<void> {
    this.#check();
    this.files.clear();
    this.notes = undefined;
  }

  readNotes = async () => this.notes;

  async writeNotes(text: string): Promise<void> {
    this.notes = text;
  }

  exclusively = <T>(run: () => Promise<T>): Promise<T> => run();

  #check(): void {
    if (this.broken) throw new AtollError('storage_failed', 'broken');
  }
}
