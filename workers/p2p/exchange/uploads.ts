/**
 * What peers asked for, in turn, a part at a time: by the links that have room, under the cap, and a leech only while nobody else waits.
 */
import { limits } from '#protocol/limits.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import type { Choker } from './choker.ts';
import type { Core } from './core.ts';
import type { Block } from './files.ts';
import type { Link, Upload } from './links.ts';
import { TokenBucket } from './token-bucket.ts';

const { shardSegmentBytesMax, shardWindowBytesMax, shardPartBytesMax, blockBytesMax } = limits;
const partBytesMin = 8 << 10;
/** Blocks at hand that nobody asks for at the moment, and for how long. */
const idleBlocksMax = 16;
const idleMsMax = 2_000;

interface Opened {
  /** Undefined until the driver has said. */
  size: number | undefined;
  users: number;
  idleSince: number;
}

type Request = Extract<ShardFrame, { t: 'req' }>;

export class Uploads {
  readonly #core: Core;
  readonly #cap: TokenBucket;
  readonly #opened = new Map<Block, Opened>();
  readonly #choker: Pick<Choker, 'isLeech' | 'rateOut'>;
  /** Whose turn was last. */
  #turn: Link | null = null;
  /** Since the last look: whether there was nothing to send although there was room. */
  wasIdle = true;

  constructor(core: Core, choker: Pick<Choker, 'isLeech' | 'rateOut'>) {
    this.#core = core;
    this.#choker = choker;
    const rate = core.options.upBytesPerSecond;
    this.#cap = new TokenBucket(rate, Math.max(shardPartBytesMax, rate / 4), core.now);
  }

  request(link: Link, frame: Request): void {
    const { file, index, offset, length } = frame;
    const block = this.#core.files.find(file, index);
    const isKnown = block?.held && (block.size === 0 || offset < block.size);
    if (!block || !isKnown) return this.#core.send(link, { t: 'no', file, index, reason: 'unknown' });
    if (link.isChoked && block !== link.sending) {
      return this.#core.send(link, { t: 'no', file, index, reason: 'choked' });
    }
    if (link.uploads.some((each) => each.block === block && each.offset <= offset && offset < each.end))
      return;
    const isOver = link.queuedBytes + length > shardWindowBytesMax + shardSegmentBytesMax;
    if (isOver) {
      // What nobody can serve is not queued, whether or not its sender is dropped for it.
      if (this.#core.options.defences.flood) this.#core.offend(link, 'flood');
      return;
    }
    const end = Math.min(offset + length, block.size || blockBytesMax);
    this.#enqueue(link, { block, file, index, offset, end });
    this.serve();
  }

  #enqueue(link: Link, upload: Upload): void {
    link.uploads.push(upload);
    link.queuedBytes += upload.end - upload.offset;
    const opened = this.#opened.get(upload.block);
    if (opened) opened.users++;
    else {
      this.#opened.set(upload.block, { size: undefined, users: 1, idleSince: 0 });
      this.#core.emit({ t: 'open', cid: upload.block.cid });
    }
  }

  opened(block: Block, size: number | null): void {
    const opened = this.#opened.get(block);
    if (!opened || opened.size !== undefined) return;
    if (size !== null && size > 0) {
      opened.size = size;
      block.size = size;
      for (const link of this.#core.links.values()) this.#clip(link, block, size);
      return this.serve();
    }
    for (const link of this.#core.links.values())
      this.#refuse(link, (each) => each.block === block, 'unknown');
    this.#opened.delete(block);
  }

  /** Requests that were made before the size was known. */
  #clip(link: Link, block: Block, size: number): void {
    for (const upload of link.uploads) {
      if (upload.block !== block || upload.end <= size) continue;
      const end = Math.max(upload.offset, size);
      link.queuedBytes -= upload.end - end;
      upload.end = end;
    }
  }

  /** The link has taken its part: it is on its way. */
  room(link: Link): void {
    link.hasRoom = true;
    link.recentOut += link.partBytes;
    link.partBytes = 0;
    this.serve();
  }

  /** Sends parts while links have room. */
  serve(): void {
    for (;;) {
      const link = this.#next();
      if (!link) return;
      if (!this.#sendPart(link)) return;
    }
  }

  /** The next link in turn with something to send and room; leeches after everybody else. */
  #next(): Link | null {
    const ready: Link[] = [];
    let isBusy = false;
    let after = -1;
    for (const link of this.#core.links.values()) {
      if (link.uploads.length === 0) continue;
      if (!this.#choker.isLeech(link)) isBusy = true;
      if (!link.hasRoom || this.#opened.get((link.uploads[0] as Upload).block)?.size === undefined) continue;
      ready.push(link);
      if (link === this.#turn) after = ready.length - 1;
    }
    if (!isBusy) this.wasIdle = true;
    const mayGoOn = (link: Link) =>
      !this.#choker.isLeech(link) || link.sending === (link.uploads[0] as Upload).block;
    const fair = isBusy ? ready.filter(mayGoOn) : ready;
    if (fair.length === 0) return null;
    const at = after < 0 ? 0 : fair.indexOf(ready[after] as Link) + 1;
    return fair[at % fair.length] as Link;
  }

  /** Shorter over a thin uplink, where what is said meanwhile waits behind a part. */
  get #partBytes(): number {
    const { rateOut } = this.#choker;
    return rateOut === 0
      ? shardPartBytesMax
      : Math.min(shardPartBytesMax, Math.max(partBytesMin, rateOut / 8));
  }

  /** False when the cap is reached. */
  #sendPart(link: Link): boolean {
    const upload = link.uploads[0] as Upload;
    const { block, file, index, offset, end } = upload;
    const size = this.#opened.get(block)?.size as number;
    const rest = Math.max(0, end - offset);
    const length = Math.ceil(rest / Math.max(1, Math.ceil(rest / this.#partBytes)));
    if (length === 0) {
      this.#dequeue(link, upload);
      return true;
    }
    if (!this.#cap.take(length, this.#core.now)) return false;
    this.#core.emit({ t: 'part', link: link.id, cid: block.cid, file, index, offset, length, size });
    this.#turn = link;
    link.hasRoom = false;
    link.queuedBytes -= length;
    upload.offset += length;
    link.sending = upload.offset === size ? null : block;
    this.#count(link, length);
    if (upload.offset === size && !this.#core.linkHas(link, block)) this.#owe(link, block, size);
    if (upload.offset === end) this.#dequeue(link, upload);
    return true;
  }

  #count(link: Link, length: number): void {
    link.gaveBytes += length;
    link.partBytes = length;
    this.#core.upBytes += length;
    if (link.useful > 0 && link.rateIn < 1 && link.recentIn === 0) link.unrequited += length;
  }

  /** It was given whole: an honest peer will announce it. */
  #owe(link: Link, block: Block, size: number): void {
    if (link.unannounced.has(block) || link.unannounced.size >= 256) return;
    link.unannounced.set(block, { size, at: this.#core.now });
  }

  #dequeue(link: Link, upload: Upload): void {
    link.uploads.splice(link.uploads.indexOf(upload), 1);
    link.queuedBytes -= upload.end - upload.offset;
    const opened = this.#opened.get(upload.block);
    if (opened && --opened.users === 0) opened.idleSince = this.#core.now;
  }

  #refuse(link: Link, which: (upload: Upload) => boolean, reason: 'choked' | 'unknown'): void {
    for (const upload of link.uploads.filter(which)) {
      this.#dequeue(link, upload);
      this.#core.send(link, { t: 'no', file: upload.file, index: upload.index, reason });
    }
  }

  /** All but the block that is half sent. */
  choke(link: Link): void {
    this.#refuse(link, (each) => each.block !== link.sending, 'choked');
  }

  /** No longer here or no longer public: not a byte more of it. */
  withdraw(block: Block): void {
    for (const link of this.#core.links.values()) {
      this.#refuse(link, (each) => each.block === block, 'unknown');
      if (link.sending === block) link.sending = null;
    }
    if (this.#opened.delete(block)) this.#core.emit({ t: 'close', cid: block.cid });
  }

  cancel(link: Link, block: Block): void {
    for (const upload of link.uploads.filter((each) => each.block === block)) this.#dequeue(link, upload);
    if (link.sending === block) link.sending = null;
  }

  unlinked(link: Link): void {
    for (const upload of [...link.uploads]) this.#dequeue(link, upload);
    if (this.#turn === link) this.#turn = null;
  }

  tick(): void {
    this.serve();
    for (const [block, opened] of this.#opened) {
      const isOld = this.#opened.size > idleBlocksMax || this.#core.now - opened.idleSince > idleMsMax;
      if (opened.users > 0 || !isOld) continue;
      this.#opened.delete(block);
      this.#core.emit({ t: 'close', cid: block.cid });
    }
  }

  get isQueued(): boolean {
    for (const link of this.#core.links.values()) if (link.uploads.length > 0) return true;
    return false;
  }
}
