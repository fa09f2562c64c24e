/**
 * Fetches the outputs of agreed units from those who hold them: manifests first, then what they link to. Every block is verified by its CID and
 * stored before the unit counts as accepted.
 *
 * A holder that goes silent, leaves or lacks a block is replaced by another; when nobody can give a block, the unit is issued again.
 */
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { linksOf } from '#protocol/codec/cbor.ts';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Hex } from 'viem';
import type { Blobs } from '../storage/blobs.ts';
import type { AgreedUnit, Change, Storage } from '../storage/port.ts';
import type { Directory, Peer } from './directory.ts';
import { pause } from './pause.ts';
import type { Clock, Logger, Timing } from './ports.ts';
import type { Results } from './results.ts';

export interface PullPorts {
  storage: Storage;
  blobs: Blobs;
  results: Results;
  directory: Directory;
  clock: Clock;
  timing: Timing;
  log: Logger;
  /** Called after the unit's fate is recorded. */
  onChange: (change: Change) => void;
  /** Other processes, whose connections may hold what is wanted; absent where there are none. */
  elsewhere?: (unit: Cid) => void;
}

/** Blocks asked of one holder at a time. */
const batchMax = 16;
/** Blocks of one result: four files and their manifests. */
const blocksMax = 4 * limits.fileBlocksMax + 64;
const retryMs = 2_000;

type Delivery = 'stored' | 'missing' | 'gone';

export class Pulls {
  readonly #ports: PullPorts;
  readonly #running = new Map<Cid, Promise<void>>();
  /** What each connection was asked for and has not answered. */
  readonly #asked = new Map<Peer, Map<Cid, (delivery: Delivery) => void>>();
  /** Agreed units that nobody connected here holds, and since when that is known. */
  readonly #unheld = new Map<Cid, number>();
  readonly #stop = new AbortController();

  constructor(ports: PullPorts) {
    this.#ports = ports;
    ports.directory.onLeave((peer) => this.#dropPeer(peer));
  }

  /** Begins to fetch a unit's outputs, unless that is going on. */
  start(unit: Cid): void {
    if (this.#running.has(unit) || this.#stop.signal.aborted) return;
    const task = this.#run(unit).finally(() => this.#running.delete(unit));
    this.#running.set(unit, task);
  }

  /**
   * Agreed units as the database knows them. One that is here for the second time has been left lying: whoever had it is gone, or never heard
   * of it.
   */
  resync(units: readonly Cid[]): void {
    const agreed = new Set(units);
    for (const unit of this.#unheld.keys()) if (!agreed.has(unit)) this.#unheld.delete(unit);
    for (const unit of units) {
      if (this.#unheld.has(unit)) this.start(unit);
      else this.#unheld.set(unit, this.#ports.clock.now());
    }
  }

  /** A block has arrived. Resolves when it is stored. Throws `bad_request` for one that was not asked for, `bad_block` for wrong bytes. */
  async deliver(peer: Peer, cid: Cid, bytes: Uint8Array): Promise<void> {
    const settle = this.#asked.get(peer)?.get(cid);
    if (!settle) {
      throw new AtollError('bad_request', 'The block was not asked for.', { details: { cid } });
    }
    const stored = await this.#ports.blobs.put(bytes, parseCid(cid).code).catch((error: unknown) => {
      settle('gone');
      throw error;
    });
    settle(stored === cid ? 'stored' : 'missing');
    if (stored !== cid) {
      throw new AtollError('bad_block', 'The bytes do not match their CID.', { details: { cid } });
    }
  }

  missing(peer: Peer, cid: Cid): void {
    this.#asked.get(peer)?.get(cid)?.('missing');
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const peer of [...this.#asked.keys()]) this.#dropPeer(peer);
    await Promise.all(this.#running.values());
  }

  async #run(cid: Cid): Promise<void> {
    const { storage, clock, log } = this.#ports;
    while (!this.#stop.signal.aborted) {
      try {
        const unit = await storage.agreed(cid);
        if (!unit) return;
        if (this.#isElsewhere(unit)) return;
        const blocks = await this.#fetchResult(unit);
        if (this.#stop.signal.aborted) return;
        const settled = blocks
          ? await storage.accept(cid, unit.attempt, blocks, clock.now())
          : await storage.reissue(cid, unit.attempt, 'nobody could give its outputs', clock.now());
        if (settled.ok) this.#ports.onChange(settled);
        return;
      } catch (error) {
        log.error(
          { unit: cid, problem: toProblem(error) },
          'The outputs of a unit could not be stored; trying again.',
        );
        await pause(retryMs, this.#stop.signal);
      }
    }
  }

  /** Nobody connected here has the outputs, so it is for another process; after a while nobody has them, and this one sees it through. */
  #isElsewhere(unit: AgreedUnit): boolean {
    const { elsewhere, clock, timing } = this.#ports;
    if (!elsewhere) return false;
    const holders = new Set(winnersOf(unit).map((replica) => replica.contributor));
    if (this.#onlineHolders(holders).length > 0) return false;
    const since = this.#unheld.get(unit.cid) ?? clock.now();
    this.#unheld.set(unit.cid, since);
    if (clock.now() - since > timing.pullMs) return false;
    elsewhere(unit.cid);
    return true;
  }

  /** All blocks of the agreed result, stored; null when some cannot be had. */
  async #fetchResult(unit: AgreedUnit): Promise<Cid[] | null> {
    const winners = winnersOf(unit);
    const document = winners.find((r) => r.result !== null)?.result;
    if (!document || unit.digest === null) {
      throw new AtollError('internal', 'An agreed unit has no result document.');
    }
    const holders = new Set(winners.map((r) => r.contributor));
    const until = this.#ports.clock.now() + this.#ports.timing.pullMs;
    const found = new Set<Cid>();
    let wave = Object.values(this.#ports.results.read(unit.digest, document).outputs);
    while (wave.length > 0) {
      if (found.size + wave.length > blocksMax) return null;
      if (!(await this.#fetchAll(wave, holders, until))) return null;
      for (const cid of wave) found.add(cid);
      const links = await Promise.all(wave.map((cid) => this.#linksOf(cid)));
      wave = [...new Set(links.flat())].filter((cid) => !found.has(cid));
    }
    return [...found];
  }

  /** What a stored manifest links to. An agreed document that is not canonical is a leaf like any other bytes. */
  async #linksOf(cid: Cid): Promise<Cid[]> {
    if (parseCid(cid).code !== cborCode) return [];
    const bytes = await this.#ports.blobs.get(cid);
    try {
      return linksOf(bytes);
    } catch {
      return [];
    }
  }

  async #fetchAll(cids: readonly Cid[], holders: ReadonlySet<Hex>, until: number): Promise<boolean> {
    const wanted = new Set<Cid>();
    for (const cid of cids) if (!(await this.#ports.blobs.has(cid))) wanted.add(cid);
    const fetch = new Fetch(wanted, holders);
    while (wanted.size > 0 && !this.#stop.signal.aborted) {
      const peers = this.#onlineHolders(holders).filter((peer) => fetch.batchFor(peer, 1).length > 0);
      if (peers.length > 0) await Promise.all(peers.map((peer) => this.#drain(fetch, peer)));
      else if (fetch.isHopeless() || this.#ports.clock.now() >= until) return false;
      else await this.#changeOrTimeout(Math.min(retryMs, until - this.#ports.clock.now()));
    }
    return wanted.size === 0;
  }

  #onlineHolders(holders: ReadonlySet<Hex>): Peer[] {
    return [...holders].flatMap((holder) => this.#ports.directory.peersOf(holder));
  }

  /** Asks one connection for batch after batch, while it answers and there is something left for it. */
  async #drain(fetch: Fetch, peer: Peer): Promise<void> {
    for (;;) {
      const batch = fetch.batchFor(peer, batchMax);
      if (batch.length === 0) return;
      fetch.begin(batch);
      const answers = await this.#ask(peer, batch);
      fetch.end(peer, batch, answers);
      if (answers.includes('gone')) return;
    }
  }

  /** One pull frame; silence for `blockMs` counts as gone for all that is open. */
  #ask(peer: Peer, cids: readonly Cid[]): Promise<Delivery[]> {
    const asked = this.#asked.get(peer) ?? new Map<Cid, (delivery: Delivery) => void>();
    this.#asked.set(peer, asked);
    const giveUp = () => {
      for (const cid of cids) asked.get(cid)?.('gone');
    };
    let timer = setTimeout(giveUp, this.#ports.timing.blockMs);
    const answers = cids.map(
      (cid) =>
        new Promise<Delivery>((resolve) => {
          // Two units may have a block in common; both wait for it.
          const earlier = asked.get(cid);
          asked.set(cid, (delivery) => {
            earlier?.(delivery);
            clearTimeout(timer);
            timer = setTimeout(giveUp, this.#ports.timing.blockMs);
            asked.delete(cid);
            resolve(delivery);
          });
        }),
    );
    peer.send({ t: 'pull', cids: [...cids] });
    return Promise.all(answers).finally(() => clearTimeout(timer));
  }

  #dropPeer(peer: Peer): void {
    const asked = this.#asked.get(peer);
    this.#asked.delete(peer);
    for (const settle of [...(asked?.values() ?? [])]) settle('gone');
  }

  #changeOrTimeout(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const unwatch = this.#ports.directory.watch(() => done());
      const done = () => {
        unwatch();
        clearTimeout(timer);
        this.#stop.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#stop.signal.addEventListener('abort', done);
    });
  }
}

/** Replicas whose contributors have the agreed outputs. */
function winnersOf({ replicas, attempt, digest }: AgreedUnit) {
  return replicas.filter((r) => r.attempt === attempt && r.state === 'revealed' && r.digest === digest);
}

/** Which blocks are wanted, under way, and known to be missing at whom. */
class Fetch {
  readonly #wanted: Set<Cid>;
  readonly #holders: ReadonlySet<Hex>;
  readonly #underWay = new Set<Cid>();
  readonly #lacking = new Map<Cid, Set<Hex>>();
  readonly #silent = new WeakSet<Peer>();

  constructor(wanted: Set<Cid>, holders: ReadonlySet<Hex>) {
    this.#wanted = wanted;
    this.#holders = holders;
  }

  /** Blocks to ask this connection for. A connection that fell silent is asked no more. */
  batchFor(peer: Peer, most: number): Cid[] {
    if (this.#silent.has(peer)) return [];
    const batch: Cid[] = [];
    for (const cid of this.#wanted) {
      if (batch.length === most) break;
      const lacks = this.#lacking.get(cid)?.has(peer.contributor) ?? false;
      if (!lacks && !this.#underWay.has(cid)) batch.push(cid);
    }
    return batch;
  }

  begin(batch: readonly Cid[]): void {
    for (const cid of batch) this.#underWay.add(cid);
  }

  end(peer: Peer, batch: readonly Cid[], answers: readonly Delivery[]): void {
    batch.forEach((cid, i) => {
      this.#underWay.delete(cid);
      if (answers[i] === 'stored') this.#wanted.delete(cid);
      else if (answers[i] === 'gone') this.#silent.add(peer);
      else this.#lacking.set(cid, (this.#lacking.get(cid) ?? new Set()).add(peer.contributor));
    });
  }

  /** Every holder has said that it lacks some block. */
  isHopeless(): boolean {
    return [...this.#wanted].some((cid) => (this.#lacking.get(cid)?.size ?? 0) >= this.#holders.size);
  }
}
