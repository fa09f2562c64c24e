/**
 * The blocks that matter here: wanted, held, or both, and the files that name them.
 *
 * A block may stand in several files; there is one `Block` of it. Nothing is held that was not said to be public, whatever a store may have.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { makeBits, setBit } from './bits.ts';
import type { Manifest } from './events.ts';
import type { Download, Link } from './links.ts';

export interface Block {
  readonly cid: Cid;
  /** 0 while it is not known. */
  size: number;
  held: boolean;
  wanted: boolean;
  urgent: boolean;
  /** Being hashed. */
  checking: boolean;
  readonly places: { file: FileEntry; index: number }[];
  /** Links that say they have it, once a place. */
  available: number;
  readonly downloads: Download[];
  /** A neighbour fetches it from the origin until then. */
  pendUntil: number;
  /** With the origin now. */
  atOrigin: boolean;
  originAt: number;
  /** When neighbours were told of that last. */
  pendedAt: number;
  /** Not to be asked of the origin before. */
  originAfter: number;
  /** Failures of the origin, and times that it said to come back. */
  originTries: number;
  originBusy: number;
  /** When it was wanted, or last given up by somebody. */
  waitingSince: number;
}

export interface FileEntry {
  readonly id: Cid;
  readonly blocks: readonly Block[];
  /** Links that were asked what they have of it and have not answered, with the moment until which that counts. */
  readonly unanswered: Map<Link, number>;
  /** When peers last brought something worth the name of it, and bytes that they have brought since. */
  progressAt: number;
  progressBytes: number;
}

export class Files {
  readonly files = new Map<Cid, FileEntry>();
  readonly blocks = new Map<Cid, Block>();
  /** Blocks that are wanted and not held, in no order. */
  readonly open: Block[] = [];
  readonly #places = new Map<Block, number>();
  readonly #loose = new Set<Block>();
  readonly #onForget: (file: FileEntry) => void;

  constructor(onForget: (file: FileEntry) => void) {
    this.#onForget = onForget;
  }

  /** The file, made known if it is new. Throws `too_large`. */
  learn(manifest: Manifest): { file: FileEntry; isNew: boolean } {
    const known = this.files.get(manifest.id);
    if (known) return { file: known, isNew: false };
    const count = manifest.blocks.length;
    if (count === 0 || count > limits.shardFileBlocksMax) {
      throw new AtollError('too_large', `A file has 1 to ${limits.shardFileBlocksMax} blocks.`, {
        details: { blocks: count },
      });
    }
    if (this.files.size >= limits.shardFilesMax) this.#forgetOne();
    const blocks = manifest.blocks.map((cid, i) => this.#blockOf(cid, manifest.sizes[i] ?? 0));
    const file: FileEntry = {
      id: manifest.id,
      blocks,
      unanswered: new Map(),
      progressAt: -Infinity,
      progressBytes: 0,
    };
    for (let index = 0; index < count; index++) (blocks[index] as Block).places.push({ file, index });
    this.files.set(manifest.id, file);
    return { file, isNew: true };
  }

  /** Whether another file can be made known, if need be in the place of one that nothing is wanted of. */
  get hasRoom(): boolean {
    return this.files.size < limits.shardFilesMax || this.#idlest() !== undefined;
  }

  /** Names of single blocks go first, then the oldest. */
  #idlest(): FileEntry | undefined {
    let oldest: FileEntry | undefined;
    for (const file of this.files.values()) {
      if (file.blocks.some((block) => block.wanted && !block.held)) continue;
      if (file.blocks.length === 1) return file;
      oldest ??= file;
    }
    return oldest;
  }

  #forgetOne(): void {
    const file = this.#idlest();
    if (!file)
      throw new AtollError('too_large', `More than ${limits.shardFilesMax} files are wanted at once.`);
    this.files.delete(file.id);
    this.#onForget(file);
    for (const block of file.blocks) {
      const at = block.places.findIndex((place) => place.file === file);
      if (at >= 0) block.places.splice(at, 1);
      if (block.places.length > 0) continue;
      if (block.held) this.#loosen(block);
      else this.blocks.delete(block.cid);
    }
  }

  /** A block by itself, which is served to who asks for it by its name but not announced. */
  alone(cid: Cid, size: number): Block {
    const block = this.#blockOf(cid, size);
    if (block.places.length === 0) this.#loosen(block);
    return block;
  }

  /** Blocks that stand in no known file: so many at most, the oldest go. */
  #loosen(block: Block): void {
    this.#loose.add(block);
    for (const oldest of this.#loose) {
      if (this.#loose.size <= limits.publishedBlocksMax) return;
      this.#loose.delete(oldest);
      if (oldest.places.length > 0) continue;
      oldest.held = false;
      this.blocks.delete(oldest.cid);
    }
  }

  /** It is no longer here; where no file names it, nothing is known of it any more. */
  released(block: Block): void {
    if (block.places.length > 0) return;
    this.#loose.delete(block);
    this.blocks.delete(block.cid);
  }

  #blockOf(cid: Cid, size: number): Block {
    let block = this.blocks.get(cid);
    if (!block) {
      block = {
        cid,
        size,
        held: false,
        wanted: false,
        urgent: false,
        checking: false,
        places: [],
        available: 0,
        downloads: [],
        pendUntil: 0,
        atOrigin: false,
        originAt: 0,
        pendedAt: 0,
        originAfter: 0,
        originTries: 0,
        originBusy: 0,
        waitingSince: 0,
      };
      this.blocks.set(cid, block);
    }
    if (block.size === 0) block.size = size;
    return block;
  }

  /** What a peer names by file and number; a block that stands in other files only is found as a file of one. */
  find(file: Cid, index: number): Block | undefined {
    const known = this.files.get(file);
    return known ? known.blocks[index] : index === 0 ? this.blocks.get(file) : undefined;
  }

  addOpen(block: Block): void {
    if (this.#places.has(block)) return;
    this.#places.set(block, this.open.length);
    this.open.push(block);
  }

  removeOpen(block: Block): void {
    const at = this.#places.get(block);
    if (at === undefined) return;
    this.#places.delete(block);
    const last = this.open.pop() as Block;
    if (last === block) return;
    this.open[at] = last;
    this.#places.set(last, at);
  }

  bitsOf(file: FileEntry): Uint8Array {
    const bits = makeBits(file.blocks.length);
    for (let i = 0; i < file.blocks.length; i++) if ((file.blocks[i] as Block).held) setBit(bits, i);
    return bits;
  }
}
