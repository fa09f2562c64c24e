/**
 * From a computed result to its verdict: commit, wait, reveal when told to, serve blocks, forget.
 *
 * Survives lost connections: `resume` sends again what was not acknowledged. Survives the process where there is a store: what is sealed is kept before its commit can
 * leave, `restore` takes it up in the next life, and `clear` leaves it there. Duplicates of any frame, and frames about replicas that are
 * not known here (another tab with the same key has them), change nothing.
 */
import { type Cid, cborCode, cidOfSync, digestOfCid, parseCid } from '#protocol/codec/cid.ts';
import { AtollError, fromProblem } from '#protocol/errors.ts';
import { commitmentOf, toHex } from '#protocol/messages/contribution.ts';
import type { FrameOf, FromContributor, FromCoordinator, Outcome } from '#protocol/messages/frames.ts';
import { decodeResult, encodeResult, type Result } from '#protocol/messages/workunit.ts';
import { limits } from '#protocol/limits.ts';
import type { Hex } from 'viem';
import { unpinAll } from './block-fetcher.ts';
import { keptOf, notKept, restored } from './kept-replica.ts';
import type { Session } from './connection.ts';
import type { RuntimePorts } from './ports.ts';
import { type Replica, ReplicaBook } from './replica-book.ts';
import { fullJitterMs } from './timing.ts';

export type SettlementPorts = Pick<
  RuntimePorts,
  'signer' | 'cache' | 'clock' | 'randomBytes' | 'log' | 'replicas'
>;

export interface SettlementEvents {
  /** The pending count changed. */
  changed(): void;
  /** A replica ended. `outcome` is null when it was dropped without a verdict. */
  settled(ended: Settled): void;
}

export interface Settled {
  assignment: Hex;
  outcome: Outcome | null;
  credit: number;
  reason: string;
  /** It was decided before this life began: the account's totals have it. */
  isOld: boolean;
}

/** What was computed under one lease. */
export interface Finished {
  assignment: Hex;
  network: Hex;
  unit: Cid;
  program: string;
  result: Result;
  blocks: readonly Cid[];
}

export class Settlement {
  readonly #ports: SettlementPorts;
  readonly #events: SettlementEvents;
  readonly #book = new ReplicaBook();
  #session: Session | null = null;
  #network: Hex | null = null;
  /** Of earlier lives and a network that has not been met in this one. */
  #dormant: Replica[] = [];
  /** Since when the session's time has not been counted; null without a session. */
  #countedAt: number | null = null;
  /** Blocks of earlier lives come back to the cache. */
  #blocksBack: Promise<void> = Promise.resolve();
  /** Blocks still to be sent on this session, one after the other. */
  #pulls: { cid: Cid; isPublic: boolean }[] = [];
  #serving = false;
  readonly #retries = new Map<Hex, () => void>();

  constructor(ports: SettlementPorts, events: SettlementEvents) {
    this.#ports = ports;
    this.#events = events;
  }

  /** Replicas without a verdict. */
  get size(): number {
    return this.#book.size;
  }

  holds(assignment: Hex): boolean {
    return this.#book.get(assignment) !== undefined;
  }

  /** Takes up what earlier lives have left, once it is known which network it may be settled with. Never rejects. */
  async restore(): Promise<void> {
    const { replicas, signer, log } = this.#ports;
    const entries = (await replicas?.list(signer.address)) ?? [];
    this.#dormant = entries.map(({ kept, isRevealed }) => restored(kept, isRevealed));
    if (entries.length > 0)
      log.info({ count: entries.length }, 'Committed results of an earlier run are to be revealed.');
  }

  /** Throws `storage_failed` while nothing could be kept, and so nothing could be committed to. */
  async checkStore(): Promise<void> {
    await this.#ports.replicas?.check();
  }

  /**
   * Signs a commitment to the result with a fresh salt, and keeps both where that is possible: only then may the commit leave. Throws on a malformed result, and
   * `storage_failed`.
   */
  async seal(finished: Finished): Promise<Replica> {
    const { assignment, network, unit, program, result, blocks } = finished;
    if (result.unit !== unit) throw new AtollError('internal', 'The result is of another unit.');
    const resultBytes = encodeResult(result);
    decodeResult(resultBytes); // what the coordinator would refuse must not be committed to
    const digestBytes = digestOfCid(cidOfSync(resultBytes, cborCode));
    const salt = toHex(this.#ports.randomBytes(32));
    const commitment = commitmentOf(assignment, this.#ports.signer.address, salt, digestBytes);
    const commitSignature = await this.#ports.signer.sign(network, 'Commit', { assignment, commitment });
    const sealed = {
      assignment,
      network,
      unit,
      program,
      resultBytes,
      salt,
      commitment,
      commitSignature,
      blocks,
    };
    const fresh = {
      waitedMs: 0,
      isPinned: true,
      isRestored: false,
      state: 'committing',
      commitSent: false,
      revealSignature: null,
      revealSent: false,
    } as const;
    const replica = { ...sealed, ...fresh, digest: toHex(digestBytes) };
    await this.#keep(replica);
    return replica;
  }

  /** What was sealed is not to be committed to after all. */
  discard(assignment: Hex): void {
    void this.#ports.replicas?.remove(assignment);
  }

  /** Takes a sealed replica in and commits to it, now or as soon as there is a session. Throws `stale_lease` on another network. */
  commit(replica: Replica): void {
    if (this.#network !== null && this.#network !== replica.network) {
      throw new AtollError('stale_lease', 'The coordinator is of another network now.');
    }
    this.#book.add(replica);
    this.#sendCommit(replica);
    this.#events.changed();
  }

  /** A new session: what was not acknowledged goes out again. Another network cannot settle what the last one leased. */
  resume(session: Session): void {
    if (this.#network !== null && this.#network !== session.network) this.clear();
    const isFirst = this.#network !== session.network;
    this.#network = session.network;
    this.#session = session;
    this.#countedAt = this.#ports.clock.now();
    // What an earlier life decided is told of at the first welcome, or not at all.
    if (!isFirst) for (const replica of this.#book.all()) replica.isRestored = false;
    this.#wake(session.network);
    for (const replica of this.#book.all()) this.#sendAgain(replica);
  }

  /** The session is gone; everything stays. */
  suspend(): void {
    this.#countWait();
    this.#countedAt = null;
    this.#session = null;
    this.#pulls = [];
    this.#cancelRetries();
  }

  /** Lets go of everything; what is kept in a store stays there for another life, or for the network it belongs to. */
  clear(): void {
    this.#cancelRetries();
    for (const replica of this.#book.all()) {
      if (this.#ports.replicas) this.#dormant.push(asleep(replica));
      this.#letGo(replica.assignment);
    }
  }

  onFrame(frame: FromCoordinator): void {
    if (frame.t === 'committed') this.#onCommitted(frame.assignment);
    else if (frame.t === 'open') this.#onOpen(frame.assignment);
    else if (frame.t === 'revealed') this.#onRevealed(frame.assignment);
    else if (frame.t === 'pull') this.#onPull(frame.cids);
    else if (frame.t === 'verdict') this.#onVerdict(frame);
    else if (frame.t === 'problem' && frame.assignment) this.#onProblem(frame, frame.assignment);
  }

  /** Drops replicas that have waited too long for a verdict. Time without a coordinator does not count: it could not say anything. */
  expire(): void {
    this.#countWait();
    for (const { assignment } of this.#book.expired()) {
      this.#forget(assignment);
      this.#end(assignment, 'No verdict came within an hour.');
    }
  }

  #countWait(): void {
    if (this.#countedAt === null) return;
    const now = this.#ports.clock.now();
    for (const replica of this.#book.all()) replica.waitedMs += now - this.#countedAt;
    this.#countedAt = now;
  }

  #end(assignment: Hex, reason: string): void {
    this.#events.settled({ assignment, outcome: null, credit: 0, reason, isOld: false });
  }

  async #keep(replica: Replica): Promise<void> {
    const { replicas, signer, cache } = this.#ports;
    if (!replicas) return;
    const blocks: { cid: Cid; size: number }[] = [];
    for (const cid of replica.blocks) blocks.push({ cid, size: (await cache.get(cid)).byteLength });
    await replicas
      .keep(keptOf(replica, signer.address, blocks), (cid) => cache.get(cid))
      .catch((error: unknown) => {
        throw error instanceof AtollError ? error : notKept('the disk failed.', error);
      });
  }

  /** Replicas of earlier lives that this network can settle. */
  #wake(network: Hex): void {
    const awake = this.#dormant.filter((replica) => replica.network === network);
    if (awake.length === 0) return;
    this.#dormant = this.#dormant.filter((replica) => replica.network !== network);
    for (const replica of awake) this.#book.add(replica);
    const back = async () => {
      for (const { assignment } of awake) await this.#bringBack(assignment);
    };
    this.#blocksBack = this.#blocksBack.then(back);
    this.#events.changed();
  }

  /** The blocks of a replica, pinned again: it may be asked for them. Outputs as they were, so no peer gets them before the verdict. */
  async #bringBack(assignment: Hex): Promise<void> {
    const { cache, replicas, log } = this.#ports;
    const replica = this.#book.get(assignment);
    if (!replica || !replicas) return;
    const pinned: Cid[] = [];
    try {
      const named = replica.blocks.values();
      for await (const bytes of replicas.blocks(assignment)) {
        const cid = named.next().value as Cid;
        pinned.push(await cache.putPinned(bytes, parseCid(cid).code));
        if (pinned.at(-1) !== cid) throw new AtollError('bad_block', 'A kept block has other bytes.');
      }
    } catch (error) {
      log.warn({ assignment, err: error }, 'Blocks of an earlier run cannot be read any more.');
    }
    // What could not be read is answered for as missing; what was settled meanwhile needs no pins.
    if (this.#book.get(assignment) !== replica) return unpinAll(cache, pinned);
    replica.blocks = pinned;
    replica.isPinned = true;
  }

  #onCommitted(assignment: Hex): void {
    const replica = this.#book.get(assignment);
    if (replica?.commitSent && replica.state === 'committing') replica.state = 'committed';
  }

  #onOpen(assignment: Hex): void {
    if (!this.#book.open(assignment)) {
      return this.#ports.log.debug(
        { assignment },
        'An open for a replica that is not held here was ignored.',
      );
    }
    const replica = this.#book.get(assignment);
    if (replica) this.#reveal(replica);
  }

  #onRevealed(assignment: Hex): void {
    const replica = this.#book.get(assignment);
    if (replica?.revealSent) replica.state = 'revealed';
  }

  /** A verdict on a replica that is not held is old news (the coordinator repeats the latest ones after a hello) or another tab's. */
  #onVerdict(frame: FrameOf<FromCoordinator, 'verdict'>): void {
    const replica = this.#book.get(frame.assignment);
    if (frame.outcome === 'agreed' && replica?.isPinned) {
      for (const cid of replica.blocks) this.#ports.cache.publish(cid);
    }
    const isOld = this.#isOld(frame.assignment);
    if (!this.#forget(frame.assignment)) return;
    const { assignment, outcome, credit, reason } = frame;
    this.#events.settled({ assignment, outcome, credit, reason, isOld });
  }

  /** Decided in an earlier life: the coordinator repeats such verdicts before it answers anything. */
  #isOld(assignment: Hex): boolean {
    const replica = this.#book.get(assignment);
    return replica?.isRestored === true && replica.state === 'committing';
  }

  #onProblem(frame: FrameOf<FromCoordinator, 'problem'>, assignment: Hex): void {
    const replica = this.#book.get(assignment);
    if (!replica) return;
    const error = fromProblem(frame.problem);
    this.#ports.log.warn({ assignment, code: error.code }, error.message);
    if (frame.problem.retryable) return this.#sendLater(replica);
    this.#forget(assignment);
    this.#end(assignment, error.message);
  }

  #sendCommit(replica: Replica): void {
    if (!this.#session) return;
    replica.commitSent = true;
    const { assignment, commitment, commitSignature: signature } = replica;
    void this.#session.send({ t: 'commit', assignment, commitment, signature });
  }

  /** Signs once, sends whenever asked; a session that comes later sends it then. */
  #reveal(replica: Replica): void {
    this.#signReveal(replica).then(
      (signature) => this.#sendReveal(replica, signature),
      (error: unknown) => this.#ports.log.error({ err: error }, 'A reveal could not be signed.'),
    );
  }

  /** From here on its blocks are public, also in the next life. One that cannot be noted is revealed all the same: that is what it was kept for. */
  async #note({ assignment, revealSent }: Replica): Promise<void> {
    if (revealSent || !this.#ports.replicas) return;
    await this.#ports.replicas.markRevealed(assignment).catch((error: unknown) => {
      this.#ports.log.warn({ assignment, err: error }, 'It could not be noted that a result is revealed.');
    });
  }

  async #signReveal(replica: Replica): Promise<Hex> {
    const { assignment, network, salt, digest } = replica;
    replica.revealSignature ??= await this.#ports.signer.sign(network, 'Reveal', {
      assignment,
      salt,
      digest,
    });
    await this.#note(replica);
    return replica.revealSignature;
  }

  #sendReveal(replica: Replica, signature: Hex): void {
    if (!this.#session || this.#book.get(replica.assignment) !== replica) return;
    replica.revealSent = true;
    const { assignment, salt, resultBytes: result } = replica;
    void this.#session.send({ t: 'reveal', assignment, salt, result, signature });
  }

  #sendAgain(replica: Replica): void {
    if (replica.state === 'committing') this.#sendCommit(replica);
    else if (replica.state === 'opened') this.#reveal(replica);
  }

  #sendLater(replica: Replica): void {
    if (this.#retries.has(replica.assignment)) return;
    const waitMs =
      limits.idleRetryMs +
      fullJitterMs(0, limits.reconnectMsMax, limits.reconnectMsMax, this.#ports.randomBytes);
    const cancel = this.#ports.clock.after(waitMs, () => {
      this.#retries.delete(replica.assignment);
      if (this.#book.get(replica.assignment) === replica) this.#sendAgain(replica);
    });
    this.#retries.set(replica.assignment, cancel);
  }

  #cancelRetries(): void {
    for (const cancel of this.#retries.values()) cancel();
    this.#retries.clear();
  }

  /** What may be served is decided when the pull arrives; the bytes are sent one block at a time, so that other frames get through. */
  #onPull(cids: readonly Cid[]): void {
    const room = limits.pullCidsMax * limits.leasesPerContributorMax - this.#pulls.length;
    for (const cid of cids.slice(0, room)) this.#pulls.push({ cid, isPublic: this.#book.isPublic(cid) });
    if (!this.#serving) void this.#serve();
  }

  async #serve(): Promise<void> {
    this.#serving = true;
    await this.#blocksBack;
    for (let next = this.#pulls.shift(); next; next = this.#pulls.shift()) {
      const bytes = next.isPublic ? await this.#ports.cache.find(next.cid) : undefined;
      const frame: FromContributor = bytes
        ? { t: 'block', cid: next.cid, bytes }
        : { t: 'missing', cid: next.cid };
      await this.#session?.send(frame);
    }
    this.#serving = false;
  }

  /** For good. */
  #forget(assignment: Hex): boolean {
    if (!this.#letGo(assignment)) return false;
    void this.#ports.replicas?.remove(assignment);
    return true;
  }

  #letGo(assignment: Hex): boolean {
    this.#retries.get(assignment)?.();
    this.#retries.delete(assignment);
    const replica = this.#book.remove(assignment);
    if (!replica) return false;
    if (replica.isPinned) unpinAll(this.#ports.cache, replica.blocks);
    this.#events.changed();
    return true;
  }
}

/** As an earlier life would have left it: what the coordinator knows of it has to be asked again. */
function asleep(replica: Replica): Replica {
  return { ...replica, isPinned: false, isRestored: true, state: 'committing', commitSent: false };
}
