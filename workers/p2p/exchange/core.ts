/**
 * What the parts of the exchange share: the moment, the effects so far, files, links, totals, and what becomes of a peer that misbehaves.
 */
import type { Hex } from 'viem';
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { clearBit, hasBit, setBit } from './bits.ts';
import type { Effect, ExchangeOptions, LinkId, Offence } from './events.ts';
import { type Block, type FileEntry, Files } from './files.ts';
import type { Link } from './links.ts';

export class Core {
  now: number;
  effects: Effect[] = [];
  readonly options: ExchangeOptions;
  readonly files: Files;
  readonly links = new Map<LinkId, Link>();
  /** Contributors that are refused, oldest first. */
  readonly banned = new Set<Hex>();
  /** When a byte came from any peer last. */
  lastPartAt = -Infinity;
  /** How long peers take to bring what they were asked for, lately. */
  answerMs = 0;
  upBytes = 0;
  downBytes = 0;
  blocksDown = 0;
  blocksRefused = 0;
  originBytes = 0;
  originBlocks = 0;
  /** Set by the machine: what else must end with a link. */
  onUnlink: (link: Link) => void = () => {};

  constructor(options: ExchangeOptions, now: number) {
    this.options = options;
    this.now = now;
    this.files = new Files((file) => {
      for (const link of this.links.values()) {
        const bits = link.has.get(file);
        if (bits) for (let i = 0; i < file.blocks.length; i++) this.lose(link, file, i);
        link.has.delete(file);
      }
    });
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  send(link: Link, frame: ShardFrame): void {
    this.effects.push({ t: 'send', link: link.id, frame });
  }

  /** Says what is here of the file, and asks the same. */
  introduce(link: Link, file: FileEntry): void {
    file.unanswered.set(link, this.now + this.options.answerMs);
    this.sayBits(link, file, true);
  }

  sayBits(link: Link, file: FileEntry, ask: boolean): void {
    const indices: number[] = [];
    for (const [index, block] of file.blocks.entries()) if (block.atOrigin) indices.push(index);
    if (indices.length > 0) {
      this.send(link, { t: 'pend', file: file.id, indices: indices.slice(0, limits.shardPendsMax) });
    }
    const bits = this.files.bitsOf(file);
    this.send(link, { t: 'bits', file: file.id, ask, count: file.blocks.length, bits });
  }

  /** To everybody who wants to know of the block's files. */
  tell(block: Block, t: 'have' | 'pend' | 'gone'): void {
    for (const { file, index } of block.places) {
      for (const link of this.links.values()) {
        if (link.has.has(file)) this.send(link, { t, file: file.id, indices: [index] });
      }
    }
  }

  linkHas(link: Link, block: Block): boolean {
    for (const { file, index } of block.places) {
      const bits = link.has.get(file);
      if (bits && hasBit(bits, index)) return true;
    }
    return false;
  }

  /** The link has this block of the file. */
  gain(link: Link, file: FileEntry, index: number): void {
    const bits = link.has.get(file) as Uint8Array;
    if (hasBit(bits, index)) return;
    const block = file.blocks[index] as Block;
    const isNews = !this.linkHas(link, block);
    setBit(bits, index);
    if (!isNews) return;
    block.available++;
    if (isOpen(block)) link.useful++;
    link.unannounced.delete(block);
  }

  lose(link: Link, file: FileEntry, index: number): void {
    const bits = link.has.get(file);
    if (!bits || !hasBit(bits, index)) return;
    clearBit(bits, index);
    const block = file.blocks[index] as Block;
    if (this.linkHas(link, block)) return;
    block.available--;
    if (isOpen(block)) link.useful--;
  }

  /** It becomes one of the blocks that are looked for. */
  open(block: Block): void {
    this.files.addOpen(block);
    for (const link of this.links.values()) if (this.linkHas(link, block)) link.useful++;
  }

  /** It is looked for no longer. Call while `isOpen` still holds. */
  close(block: Block): void {
    this.files.removeOpen(block);
    for (const link of this.links.values()) if (this.linkHas(link, block)) link.useful--;
  }

  /** Tells links whose answer has changed whether they have anything of use. */
  tellNeeds(link: Link): void {
    const needs = link.useful > 0;
    if (needs === link.toldNeed) return;
    link.toldNeed = needs;
    this.send(link, { t: 'need', needs });
  }

  /** The peer is reported and dropped; all but a stall keeps its contributor away for the session. */
  offend(link: Link, reason: Offence, cid?: Cid): void {
    this.#report(link.contributor, reason, cid);
    const ban = reason !== 'stall';
    if (ban) this.ban(link.contributor);
    this.drop(link, reason, ban);
  }

  /** Of a contributor that has gone in the meantime. */
  offendAbsent(contributor: Hex | null, reason: Offence, cid?: Cid): void {
    this.#report(contributor, reason, cid);
    this.ban(contributor);
  }

  #report(contributor: Hex | null, reason: Offence, cid?: Cid): void {
    if (contributor) this.emit({ t: 'report', contributor, reason, ...(cid === undefined ? {} : { cid }) });
  }

  ban(contributor: Hex | null): void {
    if (!contributor || !this.options.defences.bans) return;
    if (this.banned.size >= limits.shardBansMax) {
      for (const oldest of this.banned) {
        this.banned.delete(oldest);
        break;
      }
    }
    this.banned.add(contributor);
  }

  drop(link: Link, reason: Offence | 'banned' | 'replaced', ban: boolean): void {
    if (!this.links.has(link.id)) return;
    this.emit({ t: 'drop', link: link.id, ban, reason });
    this.unlink(link);
  }

  unlink(link: Link): void {
    if (!this.links.delete(link.id)) return;
    for (const [file, bits] of link.has) {
      for (let i = 0; i < file.blocks.length; i++) if (hasBit(bits, i)) this.lose(link, file, i);
      file.unanswered.delete(link);
    }
    this.onUnlink(link);
  }
}

/** Wanted, and not here. */
export function isOpen(block: Block): boolean {
  return block.wanted && !block.held;
}
