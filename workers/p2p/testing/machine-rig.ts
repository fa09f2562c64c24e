/** The exchange alone, fed by hand: a clock that stands still, seeded dice, and what came out of it, by link. */
import type { Hex } from 'viem';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import {
  type Defences,
  defaultOptions,
  type Effect,
  type ExchangeEvent,
  type ExchangeOptions,
  type Manifest,
} from '../exchange/events.ts';
import { Exchange } from '../exchange/exchange.ts';

export const kib = 1 << 10;
export const mib = 1 << 20;

/** `count` blocks of `size` bytes under a made name. */
export function manifest(count: number, size = 256 * kib, name = 'f'): Manifest {
  const blocks = Array.from({ length: count }, (_, i) => `${name}-${i}`);
  return { id: name, blocks, sizes: blocks.map(() => size) };
}

export const contributorOf = (link: number): Hex => `0x${link.toString(16).padStart(40, '0')}`;

/** mulberry32. */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

type EffectOf<T extends Effect['t']> = Extract<Effect, { t: T }>;
type FrameOf<T extends ShardFrame['t']> = Extract<ShardFrame, { t: T }>;

export class MachineRig {
  now = 1_000;
  /** All that came out since `clear`. */
  effects: Effect[] = [];
  readonly machine: Exchange;

  constructor(options: Partial<ExchangeOptions> = {}, defences: Partial<Defences> = {}) {
    this.machine = new Exchange(
      {
        ...defaultOptions,
        random: seeded(1),
        ...options,
        defences: { ...defaultOptions.defences, ...defences },
      },
      this.now,
    );
  }

  feed(event: ExchangeEvent): Effect[] {
    const effects = this.machine.handle(this.now, event);
    this.effects.push(...effects);
    return effects;
  }

  /** Time goes by, with ticks as often as they are wanted. */
  pass(ms: number): void {
    const until = this.now + ms;
    while (this.now < until) {
      this.now = Math.min(until, this.machine.wakeAt);
      this.feed({ t: 'tick' });
    }
  }

  frame(link: number, frame: ShardFrame): Effect[] {
    return this.feed({ t: 'frame', link, frame });
  }

  /** A peer that has these blocks of the file and serves us. */
  peer(link: number, file: Manifest, has: readonly number[], { serves = true } = {}): void {
    this.feed({ t: 'link', link, contributor: contributorOf(link) });
    this.bits(link, file, has);
    if (serves) this.frame(link, { t: 'unchoke' });
  }

  bits(link: number, file: Manifest, has: readonly number[]): void {
    const count = file.blocks.length;
    const bits = new Uint8Array(Math.ceil(count / 8));
    for (const i of has) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    this.frame(link, { t: 'bits', file: file.id, ask: false, count, bits });
  }

  /** A part as long as it may be, or of `length` bytes. */
  part(link: number, file: Manifest, index: number, offset: number, length = 52_429): Effect[] {
    const size = file.sizes[index] as number;
    const bytes = new Uint8Array(Math.min(length, size - offset));
    return this.frame(link, { t: 'blk', file: file.id, index, offset, size, bytes });
  }

  /** The whole block, from where it stands. */
  block(link: number, file: Manifest, index: number, ok = true): void {
    const size = file.sizes[index] as number;
    for (let at = 0; at < size; at += 52_429) this.part(link, file, index, at);
    const check = this.of('check').at(-1);
    if (check) this.feed({ t: 'checked', download: check.download, ok });
  }

  of<T extends Effect['t']>(t: T): EffectOf<T>[] {
    return this.effects.filter((effect): effect is EffectOf<T> => effect.t === t);
  }

  /** Frames of a type that were sent to a link. */
  sent<T extends ShardFrame['t']>(link: number, t: T): FrameOf<T>[] {
    return this.of('send')
      .filter((effect) => effect.link === link && effect.frame.t === t)
      .map((effect) => effect.frame as FrameOf<T>);
  }

  /** Why a link was dropped, if it was. */
  dropped(link: number): string | undefined {
    return this.of('drop').find((effect) => effect.link === link)?.reason;
  }

  /** Lets what is sent go out: every part makes room for the next, and blocks are at hand. Bytes by link. */
  drain(sizeOf: (cid: string) => number = () => 256 * kib): Map<number, number> {
    const given = new Map<number, number>();
    const answer = (effects: Effect[]): void => {
      for (const effect of effects) {
        if (effect.t === 'open')
          answer(this.feed({ t: 'opened', cid: effect.cid, size: sizeOf(effect.cid) }));
        if (effect.t !== 'part') continue;
        given.set(effect.link, (given.get(effect.link) ?? 0) + effect.length);
        answer(this.feed({ t: 'room', link: effect.link }));
      }
    };
    answer(this.effects.splice(0));
    this.effects = [];
    return given;
  }

  clear(): void {
    this.effects = [];
  }
}
