/**
 * The exchange at work: binds the state machine to links, a shelf of blocks, the origin, a clock and dice, and offers the runtime a source of blocks.
 *
 * Peers' bytes are verified (by the shelf, which hashes what it is given) before anybody sees them. What is served is what came in as an input or was
 * published by `serve` or `hold`; outputs that are withheld never are, whoever asks for them by whatever name.
 */
import type { Hex } from 'viem';
import { type Cid, verifyBlock } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { decodeShardFrame, encodeShardFrame } from '#protocol/p2p/frames.ts';
import type { BlockCache, BlockSource, Clock, Logger } from '../runtime/ports.ts';
import {
  defaultOptions,
  type Effect,
  type ExchangeEvent,
  type ExchangeOptions,
  type ExchangeStats,
  type Manifest,
  type Offence,
  type PeerTraffic,
} from './exchange/events.ts';
import { Exchange } from './exchange/exchange.ts';
import { manifestOfBlock } from './exchange/manifest.ts';
import type { Link } from './ports.ts';

export interface ExchangePorts {
  /** Where verified blocks are kept and read from. */
  shelf: Pick<BlockCache, 'has' | 'find' | 'add'>;
  /** The coordinator's gateway. `leased`, `rate_limited` (with `details.retryMs`): somebody else is fetching it, come back. */
  origin: { fetch(cid: Cid, signal: AbortSignal, onPart: () => void): Promise<Uint8Array> };
  clock: Clock;
  /** Uniform in [0, 1). */
  random: () => number;
  /** To the coordinator. */
  report: (contributor: Hex, reason: Offence, cid?: Cid) => void;
  log: Logger;
}

export interface WantOptions {
  /** Only these blocks of the file: rows or layers one by one. All unless given. */
  indices?: readonly number[];
  /** A unit waits for them. */
  urgent?: boolean;
}

/** Blocks that were asked for ahead of their use. */
export interface Wanted {
  readonly total: number;
  readonly here: number;
  /** True when all are here, false when some cannot be had or it was cancelled. Never rejects. */
  readonly settled: Promise<boolean>;
  cancel(): void;
}

export interface LinkTraffic extends PeerTraffic {
  peer: string;
  state: Link['state'];
}

const retryMsDefault = 400;

interface Waiter {
  resolve: (bytes: Uint8Array | null) => void;
  reject: (error: unknown) => void;
}

export class ShardExchange implements BlockSource {
  readonly #ports: ExchangePorts;
  readonly #machine: Exchange;
  readonly #links = new Map<number, Link>();
  /** Links that were given a part and have not yet asked for more. */
  readonly #full = new Set<number>();
  readonly #parts = new Map<number, Uint8Array>();
  readonly #opened = new Map<Cid, Uint8Array>();
  readonly #waiters = new Map<Cid, Set<Waiter>>();
  readonly #withheld = new Set<Cid>();
  readonly #queue: ExchangeEvent[] = [];
  readonly #stopped = new AbortController();
  #isRunning = false;
  #nextLink = 1;
  #cancelWake: () => void = () => {};
  #wakeAt = Infinity;

  constructor(ports: ExchangePorts, options: Partial<Omit<ExchangeOptions, 'random'>> = {}) {
    this.#ports = ports;
    this.#machine = new Exchange({ ...defaultOptions, ...options, random: ports.random }, ports.clock.now());
  }

  /** A verified block, from here, a peer or the origin. Throws `not_found`, `unavailable` or `cancelled`. */
  async fetch(cid: Cid, signal: AbortSignal, hints: { file?: Manifest } = {}): Promise<Uint8Array> {
    signal.throwIfAborted();
    const here = this.#ports.shelf.has(cid) ? await this.#ports.shelf.find(cid) : undefined;
    if (here) return here;
    const index = hints.file?.blocks.indexOf(cid) ?? -1;
    const file = hints.file && index >= 0 ? hints.file : manifestOfBlock(cid);
    for (;;) {
      const arrival = this.#await(cid, signal);
      this.#feed({ t: 'want', file, indices: [Math.max(0, index)], urgent: true });
      const bytes = (await arrival) ?? (await this.#ports.shelf.find(cid));
      if (bytes) return bytes;
      // It was held and is not on the shelf any more.
      this.#feed({ t: 'gone', cids: [cid] });
    }
  }

  /** Asks for the blocks of a file ahead of their use. What is on the shelf already is announced and not asked for. */
  want(file: Manifest, { indices, urgent = false }: WantOptions = {}): Wanted {
    const wanted = indices ?? [...file.blocks.keys()];
    const cancel = new AbortController();
    const { shelf } = this.#ports;
    const held = wanted.filter((index) => this.#isPublic(file.blocks[index]));
    this.#feed({ t: 'hold', file, indices: held });
    const open = wanted.filter((index) => !shelf.has(file.blocks[index] as Cid));
    let here = wanted.length - open.length;
    const arrivals = open.map((index) =>
      this.#await(file.blocks[index] as Cid, cancel.signal).then(() => void here++),
    );
    this.#feed({ t: 'want', file, indices: open, urgent });
    const settled = Promise.allSettled(arrivals).then((all) =>
      all.every(({ status }) => status === 'fulfilled'),
    );
    return {
      total: wanted.length,
      get here() {
        return here;
      },
      settled,
      cancel: () => cancel.abort(new AtollError('cancelled', 'The blocks are no longer wanted.')),
    };
  }

  #isPublic(cid: Cid | undefined): boolean {
    return cid !== undefined && !this.#withheld.has(cid) && this.#ports.shelf.has(cid);
  }

  /** Announces and serves what is on the shelf of a file whose blocks are inputs (from disk, say). */
  hold(file: Manifest): void {
    const indices = [...file.blocks.keys()].filter((index) => this.#isPublic(file.blocks[index]));
    this.#feed({ t: 'hold', file, indices });
  }

  /** Outputs whose verdict was `agreed`: they may be served from now on. */
  serve(cids: Iterable<Cid>): void {
    for (const cid of cids) {
      this.#withheld.delete(cid);
      if (this.#ports.shelf.has(cid)) this.#feed({ t: 'hold', file: manifestOfBlock(cid) });
    }
  }

  /**
   * Own outputs before their verdict: neither announced nor served until `serve` or `release`. What was public before it was computed here stays so: to take
   * it back would keep it from others and tell them what is being computed.
   */
  withhold(cids: Iterable<Cid>): void {
    for (const cid of cids) if (!this.#machine.isHeld(cid)) this.#withheld.add(cid);
  }

  /** They turned out to be public, whoever made them: inputs of a unit, say. Whoever holds their file from now on announces them. */
  release(cids: Iterable<Cid>): void {
    for (const cid of cids) this.#withheld.delete(cid);
  }

  /** The shelf has let these go. */
  gone(cids: readonly Cid[]): void {
    for (const cid of cids) this.#withheld.delete(cid);
    this.#feed({ t: 'gone', cids });
  }

  /** Links are being made: the origin waits for the first, so long at most. */
  expectLinks(ms: number): void {
    this.#feed({ t: 'expect', ms });
  }

  addLink(link: Link): void {
    if (this.#stopped.signal.aborted) return link.close();
    const id = this.#nextLink++;
    this.#links.set(id, link);
    this.#feed({ t: 'link', link: id, contributor: link.contributor });
    if (!this.#links.has(id)) return;
    link.listen({
      frame: (bytes) => this.#receive(id, bytes),
      drain: () => this.#room(id),
      close: () => {
        this.#full.delete(id);
        if (this.#links.delete(id)) this.#feed({ t: 'unlink', link: id });
      },
    });
  }

  stats(): Omit<ExchangeStats, 'peers'> & { peers: LinkTraffic[] } {
    const { peers, ...sums } = this.#machine.stats();
    return {
      ...sums,
      peers: peers.flatMap((traffic) => {
        const link = this.#links.get(traffic.link);
        return link ? [{ ...traffic, peer: link.peer, state: link.state }] : [];
      }),
    };
  }

  /** Closes all links; what waits is cancelled. */
  stop(): void {
    const error = new AtollError('cancelled', 'The exchange has stopped.');
    this.#stopped.abort(error);
    this.#cancelWake();
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    for (const waiters of [...this.#waiters.values()])
      for (const waiter of [...waiters]) waiter.reject(error);
    this.#waiters.clear();
  }

  #receive(id: number, bytes: Uint8Array): void {
    let frame: ShardFrame;
    try {
      frame = decodeShardFrame(bytes);
    } catch {
      return this.#feed({ t: 'garbage', link: id });
    }
    this.#feed({ t: 'frame', link: id, frame });
  }

  /** Resolves with the bytes, or null when the block is on the shelf. The last to lose patience takes the wish back. */
  #await(cid: Cid, signal: AbortSignal): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      if (this.#stopped.signal.aborted) return reject(this.#stopped.signal.reason);
      const waiters = this.#waiters.get(cid) ?? new Set<Waiter>();
      const leave = () => {
        signal.removeEventListener('abort', abort);
        waiters.delete(waiter);
        if (waiters.size === 0 && this.#waiters.get(cid) === waiters) this.#waiters.delete(cid);
      };
      const waiter: Waiter = {
        resolve: (bytes) => (leave(), resolve(bytes)),
        reject: (error) => (leave(), reject(error)),
      };
      const abort = () => {
        waiter.reject(signal.reason);
        if (!this.#waiters.has(cid)) this.#feed({ t: 'unwant', cids: [cid] });
      };
      waiters.add(waiter);
      this.#waiters.set(cid, waiters);
      signal.addEventListener('abort', abort);
    });
  }

  #feed(event: ExchangeEvent): void {
    if (this.#stopped.signal.aborted) return;
    this.#queue.push(event);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
        for (const effect of this.#machine.handle(this.#ports.clock.now(), next)) this.#run(effect);
        this.#answerHeld(next);
      }
    } finally {
      this.#isRunning = false;
    }
    this.#arm();
  }

  /** What was wanted and is here already has nobody to deliver it. */
  #answerHeld(event: ExchangeEvent): void {
    if (event.t !== 'want') return;
    for (const index of event.indices ?? []) {
      const cid = event.file.blocks[index] as Cid;
      if (!this.#machine.isHeld(cid)) continue;
      for (const waiter of [...(this.#waiters.get(cid) ?? [])]) waiter.resolve(null);
    }
  }

  #arm(): void {
    const { clock } = this.#ports;
    const at = this.#machine.wakeAt;
    if (at >= this.#wakeAt || at === Infinity) return;
    this.#cancelWake();
    this.#wakeAt = at;
    this.#cancelWake = clock.after(Math.max(1, at - clock.now()), () => {
      this.#wakeAt = Infinity;
      this.#feed({ t: 'tick' });
    });
  }

  #run(effect: Effect): void {
    switch (effect.t) {
      case 'send':
        return this.#send(effect.link, effect.frame);
      case 'part':
        return this.#sendPart(effect);
      case 'put':
        return this.#put(effect);
      case 'check':
        return void this.#check(effect);
      case 'discard':
        return void this.#parts.delete(effect.download);
      case 'open':
        return void this.#open(effect.cid);
      case 'close':
        return void this.#opened.delete(effect.cid);
      case 'origin':
        return void this.#askOrigin(effect.cid);
      case 'lost':
        return this.#lose(effect);
      case 'drop':
        return this.#drop(effect);
      case 'report':
        return this.#ports.report(effect.contributor, effect.reason, effect.cid);
    }
  }

  #sendPart({ link: id, cid, file, index, offset, length, size }: Extract<Effect, { t: 'part' }>): void {
    const bytes = this.#opened.get(cid)?.subarray(offset, offset + length);
    if (!bytes) return;
    this.#full.add(id);
    this.#send(id, { t: 'blk', file, index, offset, size, bytes });
  }

  /** The machine sends one part at a time to a link, and the next when the link has taken it. */
  #send(id: number, frame: ShardFrame): void {
    const hasRoom = this.#links.get(id)?.send(encodeShardFrame(frame)) ?? false;
    if (hasRoom) this.#room(id);
  }

  #room(id: number): void {
    if (this.#full.delete(id)) this.#feed({ t: 'room', link: id });
  }

  #put({ download, offset, size, bytes }: Extract<Effect, { t: 'put' }>): void {
    let block = this.#parts.get(download);
    if (!block) {
      block = new Uint8Array(size);
      this.#parts.set(download, block);
    }
    block.set(bytes, offset);
  }

  async #check({ download, cid }: Extract<Effect, { t: 'check' }>): Promise<void> {
    const bytes = this.#parts.get(download) as Uint8Array;
    this.#parts.delete(download);
    const ok = await this.#keep(cid, bytes);
    this.#feed({ t: 'checked', download, ok });
    if (ok) this.#deliver(cid, bytes);
  }

  /** False unless the bytes are those of the CID. A shelf that fails takes nothing away from who waits. */
  async #keep(cid: Cid, bytes: Uint8Array): Promise<boolean> {
    try {
      await this.#ports.shelf.add(cid, bytes);
      return true;
    } catch (error) {
      if (codeOf(error) === 'bad_block') return false;
      this.#ports.log.warn({ cid, code: codeOf(error) }, 'A block could not be kept.');
      return verifyBlock(cid, bytes).then(
        () => true,
        () => false,
      );
    }
  }

  #deliver(cid: Cid, bytes: Uint8Array): void {
    for (const waiter of [...(this.#waiters.get(cid) ?? [])]) waiter.resolve(bytes);
  }

  async #open(cid: Cid): Promise<void> {
    const bytes = this.#withheld.has(cid)
      ? undefined
      : await this.#ports.shelf.find(cid).catch(() => undefined);
    if (bytes && !this.#withheld.has(cid)) this.#opened.set(cid, bytes);
    this.#feed({ t: 'opened', cid, size: bytes?.byteLength ?? null });
    if (!bytes) this.#feed({ t: 'gone', cids: [cid] });
  }

  async #askOrigin(cid: Cid): Promise<void> {
    let bytes: Uint8Array;
    try {
      const onPart = () => this.#feed({ t: 'arriving', cid });
      bytes = await this.#ports.origin.fetch(cid, this.#stopped.signal, onPart);
    } catch (error) {
      const code = codeOf(error);
      const told = (error as Partial<AtollError>).details?.['retryMs'];
      const retryMs = typeof told === 'number' ? told : retryMsDefault;
      if (code === 'leased' || code === 'rate_limited') {
        return this.#feed({ t: 'origin', cid, outcome: 'busy', retryMs });
      }
      return this.#feed({ t: 'origin', cid, outcome: code === 'not_found' ? 'missing' : 'failed' });
    }
    if (!(await this.#keep(cid, bytes))) {
      this.#ports.log.warn({ cid }, 'The origin sent bytes that are not those of the block.');
      return this.#feed({ t: 'origin', cid, outcome: 'failed' });
    }
    this.#feed({ t: 'origin', cid, outcome: 'ok', size: bytes.byteLength });
    this.#deliver(cid, bytes);
  }

  #lose({ cid, outcome }: Extract<Effect, { t: 'lost' }>): void {
    const code = outcome === 'missing' ? 'not_found' : 'unavailable';
    const words = 'Neither the coordinator nor a peer has a block that the unit needs.';
    const error = new AtollError(code, words, { details: { cid } });
    for (const waiter of [...(this.#waiters.get(cid) ?? [])]) waiter.reject(error);
  }

  #drop({ link: id, reason }: Extract<Effect, { t: 'drop' }>): void {
    const link = this.#links.get(id);
    this.#links.delete(id);
    this.#ports.log.info({ reason }, 'A peer was dropped.');
    link?.close();
  }
}
