/**
 * From a computed result to its verdict: commit, wait, reveal when told to, serve blocks, forget.
 *
 * Survives lost connections: `resume` sends again what was not acknowledged. Duplicates of any frame, and frames about replicas that are
 * not known here (another tab with the same key has them), change nothing.
 */
import { digestOfCid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { AtollError, fromProblem } from '#protocol/errors.ts';
import { commitmentOf, toHex } from '#protocol/messages/contribution.ts';
import type { FrameOf, FromContributor, FromCoordinator, Outcome } from '#protocol/messages/frames.ts';
import { decodeResult, encodeResult, type Result } from '#protocol/messages/workunit.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { Hex } from 'viem';
import { unpinAll } from './block-fetcher.ts';
import type { Session } from './connection.ts';
import type { RuntimePorts } from './ports.ts';
import { type Replica, ReplicaBook } from './replica-book.ts';
import { fullJitterMs } from './timing.ts';

export type SettlementPorts = Pick<RuntimePorts, 'signer' | 'cache' | 'clock' | 'randomBytes' | 'log'>;

export interface SettlementEvents {
  /** The pending count changed. */
  changed(): void;
  /** A replica ended. `outcome` is null when it was dropped without a verdict. */
  settled(assignment: Hex, outcome: Outcome | null, credit: number, reason: string): void;
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

  /** Signs a commitment to the result with a fresh salt. Throws on a malformed result. */
  async seal(finished: Finished): Promise<Replica> {
    const { assignment, network, unit, program, result, blocks } = finished;
    if (result.unit !== unit) throw new AtollError('internal', 'The result is of another unit.');
    const resultBytes = encodeResult(result);
    decodeResult(resultBytes); // what the coordinator would refuse must not be committed to
    const digestBytes = digestOfCid(cidOfSync(resultBytes, cborCode));
    const salt = toHex(this.#ports.randomBytes(32));
    const commitment = commitmentOf(assignment, this.#ports.signer.address, salt, digestBytes);
    const commitSignature = await this.#ports.signer.sign(network, 'Commit', { assignment, commitment });
    const sinceMs = this.#ports.clock.now();
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
      state: 'committing',
      commitSent: false,
      revealSignature: null,
      revealSent: false,
    } as const;
    return { ...sealed, ...fresh, digest: toHex(digestBytes), sinceMs };
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
    this.#network = session.network;
    this.#session = session;
    for (const replica of this.#book.all()) this.#sendAgain(replica);
  }

  /** The session is gone; everything stays. */
  suspend(): void {
    this.#session = null;
    this.#pulls = [];
    this.#cancelRetries();
  }

  /** Forgets everything. */
  clear(): void {
    this.#cancelRetries();
    for (const replica of this.#book.all()) this.#forget(replica.assignment);
  }

  onFrame(frame: FromCoordinator): void {
    if (frame.t === 'committed') this.#onCommitted(frame.assignment);
    else if (frame.t === 'open') this.#onOpen(frame.assignment);
    else if (frame.t === 'revealed') this.#onRevealed(frame.assignment);
    else if (frame.t === 'pull') this.#onPull(frame.cids);
    else if (frame.t === 'verdict') this.#onVerdict(frame);
    else if (frame.t === 'problem' && frame.assignment) this.#onProblem(frame, frame.assignment);
  }

  /** Drops replicas that have waited too long for a verdict. */
  expire(): void {
    for (const { assignment } of this.#book.expired(this.#ports.clock.now())) {
      this.#forget(assignment);
      this.#events.settled(assignment, null, 0, 'No verdict came within an hour.');
    }
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
    const blocks = this.#book.get(frame.assignment)?.blocks ?? [];
    if (frame.outcome === 'agreed') for (const cid of blocks) this.#ports.cache.publish(cid);
    if (!this.#forget(frame.assignment)) return;
    this.#events.settled(frame.assignment, frame.outcome, frame.credit, frame.reason);
  }

  #onProblem(frame: FrameOf<FromCoordinator, 'problem'>, assignment: Hex): void {
    const replica = this.#book.get(assignment);
    if (!replica) return;
    const error = fromProblem(frame.problem);
    this.#ports.log.warn({ assignment, code: error.code }, error.message);
    if (frame.problem.retryable) return this.#sendLater(replica);
    this.#forget(assignment);
    this.#events.settled(assignment, null, 0, error.message);
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

  async #signReveal(replica: Replica): Promise<Hex> {
    const { assignment, network, salt, digest } = replica;
    replica.revealSignature ??= await this.#ports.signer.sign(network, 'Reveal', {
      assignment,
      salt,
      digest,
    });
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
    for (let next = this.#pulls.shift(); next; next = this.#pulls.shift()) {
      const bytes = next.isPublic ? await this.#ports.cache.find(next.cid) : undefined;
      const frame: FromContributor = bytes
        ? { t: 'block', cid: next.cid, bytes }
        : { t: 'missing', cid: next.cid };
      await this.#session?.send(frame);
    }
    this.#serving = false;
  }

  #forget(assignment: Hex): boolean {
    this.#retries.get(assignment)?.();
    this.#retries.delete(assignment);
    const replica = this.#book.remove(assignment);
    if (!replica) return false;
    unpinAll(this.#ports.cache, replica.blocks);
    this.#events.changed();
    return true;
  }
}
