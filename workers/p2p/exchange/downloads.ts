/**
 * What is asked of whom: rarest first with random ties, at most `shardWindowBytesMax` on the way from one peer, in stretches, so that the next block
 * is asked for before the last has come whole. A block has one source, or two where the first is silent or far slower.
 */
import type { Hex } from 'viem';
import { limits } from '#protocol/limits.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { hasBit } from './bits.ts';
import type { Core } from './core.ts';
import type { Block, FileEntry } from './files.ts';
import type { Download, Link } from './links.ts';
import { TokenBucket } from './token-bucket.ts';

const { blockBytesMax, shardSegmentBytesMax, shardWindowBytesMax } = limits;
/** Blocks asked of one peer at a time, where they are small. */
const downloadsPerLinkMax = 64;
/** A block that the origin has not brought by then is asked of peers too; a third of it where it is urgent. */
const originSlowMs = 3_000;
/** How long an answer may take before less is asked for at a time, and how little. */
const soonMs = 1_000;
const lateMs = 2_500;
const windowBytesMin = 64 << 10;
/** A second source may be asked no sooner than this after the first. */
const secondSourceMsMin = 1_000;

type Part = Extract<ShardFrame, { t: 'blk' }>;

export class Downloads {
  readonly #core: Core;
  readonly #cap: TokenBucket;
  #nextId = 1;
  /** Whole and being hashed; with who sent it, who may have left. */
  readonly #checks = new Map<number, { block: Block; link: Link; contributor: Hex | null; size: number }>();
  readonly #onHeld: (block: Block) => void;

  constructor(core: Core, onHeld: (block: Block) => void) {
    this.#core = core;
    this.#onHeld = onHeld;
    const rate = core.options.downBytesPerSecond;
    this.#cap = new TokenBucket(rate, Math.max(shardSegmentBytesMax, rate / 4), core.now);
  }

  /** Asks this link for all that it may be asked for now. */
  pump(link: Link): void {
    for (let turn = 0; turn < 2 * downloadsPerLinkMax; turn++) {
      const budget = link.window - link.inFlight;
      if (budget <= 0) return;
      const stretch = Math.min(shardSegmentBytesMax, link.window >> 1);
      const begun = link.downloads.find((each) => each.asked < each.size || each.asked === 0);
      // Not worth a search while a whole stretch would not fit.
      if (!begun && budget < stretch) return;
      const block = begun ? begun.block : this.#pick(link);
      if (!block) return;
      const size = begun?.size || block.size;
      const rest = (size || blockBytesMax) - (begun?.asked ?? 0);
      const length = Math.min(stretch, rest);
      if (length > budget || !this.#cap.take(length, this.#core.now)) return;
      const download = begun ?? this.#start(link, block);
      if (link.inFlight === 0) link.progressAt = this.#core.now;
      const { file, index } = download;
      this.#core.send(link, { t: 'req', file, index, offset: download.asked, length });
      download.asked += length;
      link.inFlight += length;
      link.asks.push({ bytes: length, at: this.#core.now });
    }
  }

  /** Answers that come soon widen the window, answers that queued for long narrow it: small frames must get through a thin uplink, too. */
  #pace(link: Link, count: number): void {
    for (let rest = count; rest > 0 && link.asks.length > 0;) {
      const ask = link.asks[0] as Link['asks'][number];
      const taken = Math.min(rest, ask.bytes);
      ask.bytes -= taken;
      rest -= taken;
      if (ask.bytes > 0) return;
      link.asks.shift();
      const tookMs = this.#core.now - ask.at;
      this.#core.answerMs += (tookMs - this.#core.answerMs) / 8;
      if (tookMs < soonMs) link.window = Math.min(shardWindowBytesMax, 2 * link.window);
      else if (tookMs > lateMs) link.window = Math.max(windowBytesMin, link.window >> 1);
    }
  }

  pumpAll(): void {
    for (const link of this.#core.links.values()) if (!link.chokesUs) this.pump(link);
  }

  #start(link: Link, block: Block): Download {
    const { now } = this.#core;
    const place = block.places.find(({ file, index }) => {
      const bits = link.has.get(file);
      return bits !== undefined && hasBit(bits, index);
    });
    const { file, index } = place as Block['places'][number];
    const download: Download = {
      id: this.#nextId++,
      link,
      block,
      file: file.id,
      index,
      size: block.size,
      asked: 0,
      received: 0,
      startedAt: now,
      progressAt: now,
    };
    link.downloads.push(download);
    block.downloads.push(download);
    return download;
  }

  /** The block to ask this link for: nobody's yet, else one whose source is silent or slow. */
  #pick(link: Link): Block | undefined {
    if (link.chokesUs || link.useful === 0 || link.downloads.length >= downloadsPerLinkMax) return undefined;
    const { now } = this.#core;
    const { random } = this.#core.options;
    let best: Block | undefined;
    let rank = Infinity;
    let ties = 0;
    for (const block of this.#core.files.open) {
      if (block.checking || block.downloads.length > 0) continue;
      if (block.atOrigin && now - block.originAt < originSlowMs / (block.urgent ? 3 : 1)) continue;
      // Urgent ones before all others, then by how many have it.
      const own = block.available - (block.urgent ? 1e6 : 0);
      if (own > rank || !this.#core.linkHas(link, block)) continue;
      ties = own < rank ? 1 : ties + 1;
      if (own < rank || random() * ties < 1) best = block;
      rank = own;
    }
    return best ?? this.#second(link);
  }

  #second(link: Link): Block | undefined {
    for (const block of this.#core.files.open) {
      const [first, ...others] = block.downloads;
      if (!first || others.length > 0 || block.checking || first.link === link) continue;
      if (this.#isSlow(first, link) && this.#core.linkHas(link, block)) return block;
    }
    return undefined;
  }

  #isSlow(download: Download, other: Link): boolean {
    const { now, options } = this.#core;
    const silentMs = now - Math.max(download.progressAt, download.link.progressAt);
    if (download.block.urgent && silentMs > options.hedgeMs) return true;
    if (now - download.startedAt < secondSourceMsMin) return false;
    if (silentMs > options.patienceUrgentMs) return true;
    const rest = (download.size || blockBytesMax) - download.received;
    const there = rest / Math.max(1, download.link.rateIn);
    return there > (2 * (other.inFlight + (download.size || blockBytesMax))) / Math.max(1, other.rateIn);
  }

  /** A part came. What nobody asked for is a flood, but for what may still come of given up requests. */
  part(link: Link, frame: Part): void {
    const { bytes, offset, size } = frame;
    const count = bytes.byteLength;
    const block = this.#core.files.find(frame.file, frame.index);
    const download = block && link.downloads.find((each) => each.block === block);
    if (!download || offset !== download.received || offset + count > download.asked) {
      return this.#stray(link, count);
    }
    if (download.size !== 0 && download.size !== size) {
      this.#core.blocksRefused++;
      return this.#core.offend(link, 'bad-block', block.cid);
    }
    if (download.size === 0) {
      download.size = size;
      const surplus = Math.max(0, download.asked - size);
      download.asked -= surplus;
      link.inFlight -= surplus;
      if (surplus > 0) link.asks.length = 0;
    }
    this.#count(link, download, count);
    this.#core.emit({ t: 'put', download: download.id, offset, size, bytes });
    if (download.received === size) this.#check(download);
    this.pump(link);
  }

  #count(link: Link, download: Download, count: number): void {
    const { now } = this.#core;
    download.received += count;
    download.progressAt = now;
    link.inFlight -= count;
    link.progressAt = now;
    link.gotBytes += count;
    link.recentIn += count;
    link.unrequited = Math.max(0, link.unrequited - 2 * count);
    this.#pace(link, count);
    this.#core.lastPartAt = now;
    this.#core.downBytes += count;
    for (const { file } of download.block.places) this.#advance(file, count);
  }

  /** A trickle is no progress: a part's worth of bytes is. */
  #advance(file: FileEntry, count: number): void {
    file.progressBytes += count;
    if (file.progressBytes < limits.shardPartBytesMax) return;
    file.progressBytes = 0;
    file.progressAt = this.#core.now;
  }

  #stray(link: Link, count: number): void {
    link.strays -= count;
    if (link.strays < 0 && this.#core.options.defences.flood) this.#core.offend(link, 'flood');
  }

  #check(download: Download): void {
    const { block, link, id, size } = download;
    this.#remove(download);
    block.checking = true;
    this.#checks.set(id, { block, link, contributor: link.contributor, size });
    this.#core.emit({ t: 'check', download: id, cid: block.cid });
  }

  checked(id: number, ok: boolean): void {
    const check = this.#checks.get(id);
    if (!check) return;
    this.#checks.delete(id);
    const { block, link, contributor, size } = check;
    block.checking = false;
    if (ok) {
      link.blocksDown++;
      this.#core.blocksDown++;
      block.size = size;
      return this.#onHeld(block);
    }
    link.blocksRefused++;
    this.#core.blocksRefused++;
    block.waitingSince = this.#core.now;
    if (this.#core.links.get(link.id) === link) this.#core.offend(link, 'bad-block', block.cid);
    else this.#core.offendAbsent(contributor, 'bad-block', block.cid);
    this.pumpAll();
  }

  /** The peer will not send it. */
  refused(link: Link, block: Block, isUnknown: boolean): void {
    const download = link.downloads.find((each) => each.block === block);
    if (!download) return;
    this.#abandon(download, false);
    if (!isUnknown) return;
    const claimed = this.#core.linkHas(link, block);
    for (const { file, index } of block.places) this.#core.lose(link, file, index);
    if (!claimed || !this.#core.options.defences.falseHave) return;
    if (++link.falseHaves >= this.#core.options.falseHavesMax)
      this.#core.offend(link, 'false-have', block.cid);
  }

  /** The block has come another way, or is not wanted any more. */
  cancel(block: Block): void {
    const cancelled = [...block.downloads];
    for (const download of cancelled) this.#abandon(download, true);
    for (const { link } of cancelled) this.pump(link);
  }

  #abandon(download: Download, tell: boolean): void {
    const { link, block, file, index, id } = download;
    this.#remove(download);
    const rest = download.asked - download.received;
    link.inFlight -= rest;
    link.strays = Math.min(2 * shardWindowBytesMax, link.strays + rest);
    if (link.inFlight === 0) link.asks.length = 0;
    block.waitingSince = this.#core.now;
    this.#core.emit({ t: 'discard', download: id });
    if (tell && rest > 0) this.#core.send(link, { t: 'cancel', file, index });
  }

  #remove(download: Download): void {
    download.link.downloads.splice(download.link.downloads.indexOf(download), 1);
    download.block.downloads.splice(download.block.downloads.indexOf(download), 1);
  }

  unlinked(link: Link): void {
    for (const download of [...link.downloads]) this.#abandon(download, false);
  }

  /** Where nothing came from anybody else either, the fault may be on this side. */
  #stalled(link: Link): void {
    if (this.#core.lastPartAt > link.progressAt) this.#core.offend(link, 'stall');
    else this.#core.drop(link, 'stall', false);
  }

  /** Drops who was asked and is silent; lets links that could ask again do so. */
  tick(): void {
    const { now, options, links } = this.#core;
    for (const link of [...links.values()]) {
      const isSilent = link.inFlight > 0 && now - link.progressAt > limits.shardStallMsMax;
      if (isSilent && options.defences.stall) this.#stalled(link);
    }
    this.pumpAll();
  }
}
