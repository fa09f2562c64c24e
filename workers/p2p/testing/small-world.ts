/**
 * A few exchanges in one made world: a clock that jumps from event to event, links with a delay, uplinks with a rate, and peers that go away, with a word or
 * without. The simulation of hundreds (test/sim/swarm) has neighbours, leases and crowds; this one is for looking closely at a single receiver.
 */
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { defaultOptions, type Effect, type ExchangeEvent, type ExchangeOptions } from '../exchange/events.ts';
import { Exchange } from '../exchange/exchange.ts';
import { contributorOf, kib, seeded } from './machine-rig.ts';

const delayMs = 20;
const hashMs = 2;

export class SmallWorld {
  now = 0;
  readonly dice: () => number;
  readonly #agenda: { at: number; turn: number; run: () => void }[] = [];
  #turns = 0;

  constructor(seed: number) {
    this.dice = seeded(seed);
  }

  at(at: number, run: () => void): void {
    this.#agenda.push({ at, turn: this.#turns++, run });
    this.#agenda.sort((a, b) => a.at - b.at || a.turn - b.turn);
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run);
  }

  /** Until `isDone` or that moment. */
  run(untilMs: number, isDone: () => boolean): void {
    for (let next = this.#agenda[0]; next && next.at <= untilMs && !isDone(); next = this.#agenda[0]) {
      this.#agenda.shift();
      this.now = next.at;
      next.run();
    }
  }
}

export class SmallPeer {
  readonly exchange: Exchange;
  /** When bytes of a wanted block came. */
  readonly progress: number[] = [];
  /** When the origin was asked, which gives nothing. */
  readonly origin: number[] = [];
  readonly #world: SmallWorld;
  readonly #id: number;
  readonly #upBytesPerSecond: number;
  readonly #links = new Map<number, SmallPeer>();
  readonly #queue: ExchangeEvent[] = [];
  #isRunning = false;
  #isGone = false;
  #freeAt = 0;
  #wakeAt = Infinity;

  constructor(
    world: SmallWorld,
    id: number,
    upBytesPerSecond: number,
    options: Partial<ExchangeOptions> = {},
  ) {
    this.#world = world;
    this.#id = id;
    this.#upBytesPerSecond = upBytesPerSecond;
    this.exchange = new Exchange({ ...defaultOptions, random: world.dice, ...options }, 0);
  }

  /** Links are numbered by who is at their other end. */
  link(other: SmallPeer): void {
    for (const [one, two] of [
      [this, other],
      [other, this],
    ] as const) {
      one.#links.set(two.#id, two);
      one.feed({ t: 'link', link: two.#id, contributor: contributorOf(two.#id) });
    }
  }

  /** Says nothing any more. With a word the others know at once; else they have to find out. */
  leave(hasWord: boolean): void {
    this.#isGone = true;
    if (!hasWord) return;
    for (const other of this.#links.values()) {
      this.#world.after(delayMs, () => {
        if (other.#links.delete(this.#id)) other.feed({ t: 'unlink', link: this.#id });
      });
    }
  }

  feed(event: ExchangeEvent): void {
    if (this.#isGone) return;
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      for (const effect of this.exchange.handle(this.#world.now, next)) this.#run(effect);
    }
    this.#isRunning = false;
    this.#arm();
  }

  #arm(): void {
    const at = this.exchange.wakeAt;
    if (at >= this.#wakeAt || at === Infinity) return;
    this.#wakeAt = at;
    this.#world.at(at, () => {
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Infinity;
      this.feed({ t: 'tick' });
    });
  }

  #run(effect: Effect): void {
    const { now } = this.#world;
    switch (effect.t) {
      case 'send':
        return this.#deliver(effect.link, effect.frame, now + delayMs);
      case 'part':
        return this.#part(effect);
      case 'put':
        return void this.progress.push(now);
      case 'check':
        return this.#world.after(hashMs, () =>
          this.feed({ t: 'checked', download: effect.download, ok: true }),
        );
      case 'open':
        return this.feed({ t: 'opened', cid: effect.cid, size: 256 * kib });
      case 'origin':
        this.origin.push(now);
        return this.#world.after(delayMs, () =>
          this.feed({ t: 'origin', cid: effect.cid, outcome: 'failed' }),
        );
      case 'drop':
        return this.#drop(effect.link);
      default:
    }
  }

  #deliver(link: number, frame: ShardFrame, at: number): void {
    const other = this.#links.get(link);
    this.#world.at(at, () => {
      if (!this.#isGone && other && other.#links.has(this.#id))
        other.feed({ t: 'frame', link: this.#id, frame });
    });
  }

  #part({ link, file, index, offset, size, length }: Extract<Effect, { t: 'part' }>): void {
    this.#freeAt = Math.max(this.#world.now, this.#freeAt) + (length / this.#upBytesPerSecond) * 1000;
    const frame = { t: 'blk', file, index, offset, size, bytes: new Uint8Array(length) } as const;
    this.#deliver(link, frame, this.#freeAt + delayMs);
    this.#world.at(this.#freeAt, () => this.feed({ t: 'room', link }));
  }

  #drop(link: number): void {
    const other = this.#links.get(link);
    this.#links.delete(link);
    this.#world.after(delayMs, () => {
      if (other && other.#links.delete(this.#id)) other.feed({ t: 'unlink', link: this.#id });
    });
  }
}
