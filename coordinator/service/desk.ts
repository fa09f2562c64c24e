/**
 * Where contributors are served: every frame of a greeted connection, and everything the coordinator has to tell contributors about their
 * replicas. Signatures and commitments are checked here; what happens to the unit is decided by the pure consensus inside the storage.
 */
import { hash } from 'node:crypto';
import { type Cid, cborCidOfDigest } from '#protocol/codec/cid.ts';
import { AtollError, type ErrorCode, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { commitmentOf, toHex } from '#protocol/messages/contribution.ts';
import type { FrameOf, FromContributor, SyncHint } from '#protocol/messages/frames.ts';
import { decodeWorkunit, type Result } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { outputNames } from '../planner/programs.ts';
import type { Swarm } from '../p2p/swarm.ts';
import type { Attempted, Change, Storage, Verdict } from '../storage/port.ts';
import type { CommittedReplica, Directory, Peer } from './directory.ts';
import type { Metrics } from './metrics.ts';
import type { Clock, Logger, Random } from './ports.ts';
import type { Pulls } from './pulls.ts';
import type { Results } from './results.ts';
import type { VerifySignature } from './signatures.ts';
import type { UpdateChain } from './update-chain.ts';

/** Verdicts repeated to a contributor that comes back: more than it can have missed. */
const verdictsRepeated = 32;
/** What a plan may have waited for: a result, or the last check of one. */
const planned: ReadonlySet<string> = new Set(['accepted', 'confirmed', 'upheld', 'recheck']);
/** Committed replicas remembered for a connection. */
const committedMax = 2 * limits.leasesPerContributorMax;

/** What a replica may be whose verdict is still to come. */
const isOpen: ReadonlySet<string> = new Set(['leased', 'committed', 'revealed']);
const loud: ReadonlySet<string> = new Set(['failed', 'split', 'disputed']);

export interface DeskPorts {
  storage: Storage;
  directory: Directory;
  clock: Clock;
  random: Random;
  verify: VerifySignature;
  results: Results;
  log: Logger;
  metrics: Metrics;
  /** Who exchanges blocks with whom. */
  swarm: Pick<Swarm, 'handle' | 'suspect'>;
  /** How checkpoints follow from each other. */
  chain: Pick<UpdateChain, 'hint'>;
  /** Something about a unit changed; it may be the last one of a round. */
  onUnit: (unit: Cid, accepted: boolean) => void;
}

export class Desk {
  readonly #ports: DeskPorts;
  #pulls: Pulls | null = null;
  #stopping = false;
  /** How far each uncommitted replica says it is; shown, never trusted. */
  readonly #progress = new Map<Hex, { unit: Cid; share: number }>();

  constructor(ports: DeskPorts) {
    this.#ports = ports;
  }

  /** The coordinator is about to stop: nobody is given work that it could not hand in. */
  stopLeases(): void {
    this.#stopping = true;
  }

  connect(pulls: Pulls): void {
    this.#pulls = pulls;
  }

  /** Tells a contributor that has just been greeted what it may have missed. */
  async welcomeBack(peer: Peer): Promise<void> {
    const { storage } = this.#ports;
    for (const verdict of await storage.recentVerdicts(peer.contributor, verdictsRepeated)) {
      peer.send(verdictFrame(verdict));
    }
    for (const assignment of await storage.openReveals(peer.contributor)) {
      peer.send({ t: 'open', assignment });
    }
  }

  /** Tells some of those who wait for it that their reveals are open: the process that opened them may have told so in vain. */
  async openAgain(most: number): Promise<void> {
    for (const peer of this.#ports.directory.waiting(most)) {
      for (const assignment of await this.#ports.storage.openReveals(peer.contributor)) {
        peer.send({ t: 'open', assignment });
      }
    }
  }

  /** Answers one frame. Throws an `AtollError` for the sender. */
  async handle(peer: Peer, frame: FromContributor): Promise<void> {
    switch (frame.t) {
      case 'ask':
        return this.#ask(peer, frame);
      case 'commit':
        return this.#commit(peer, frame);
      case 'reveal':
        return this.#reveal(peer, frame);
      case 'release':
        return this.#release(peer, frame);
      case 'block':
        return this.#pulls?.deliver(peer, frame.cid, frame.bytes);
      case 'missing':
        return this.#pulls?.missing(peer, frame.cid);
      case 'progress':
        return this.#note(peer, frame);
      case 'announce':
      case 'swarm':
      case 'report':
        return this.#ports.swarm.handle(peer, frame);
      case 'hello':
        throw new AtollError('bad_frame', 'This connection has said hello already.');
    }
  }

  /** 0..1, of the furthest replica that is being computed. */
  progressOf(unit: Cid): number {
    let furthest = 0;
    for (const entry of this.#progress.values()) {
      if (entry.unit === unit) furthest = Math.max(furthest, entry.share);
    }
    return furthest;
  }

  /** Passes a recorded change on to those it concerns. */
  publish(change: Change): void {
    let accepted = false;
    for (const transition of change.transitions) {
      this.#ports.metrics.transition(transition.type);
      if (transition.type === 'opened') {
        for (const { assignment, contributor } of transition.replicas) {
          this.#ports.directory.send(contributor, { t: 'open', assignment });
        }
      } else if (transition.type === 'released') {
        this.#progress.delete(transition.assignment);
      } else if (transition.type === 'expired' || transition.type === 'withheld') {
        this.#progress.delete(transition.assignment);
        this.#tellProblem(transition.contributor, transition.assignment, transition.reason);
      } else if (transition.type === 'agreed' || transition.type === 'overturned') {
        this.#pulls?.start(change.unit);
      } else if (planned.has(transition.type)) {
        accepted = true;
      } else if (loud.has(transition.type)) {
        this.#ports.log.warn({ unit: change.unit }, `A unit ${transition.type}: ${transition.reason}.`);
      }
    }
    for (const verdict of change.verdicts) {
      this.#ports.log.debug({ ...verdict }, 'Settled.');
      this.#ports.metrics.verdict(verdict.outcome);
      this.#ports.directory.send(verdict.contributor, verdictFrame(verdict));
      if (verdict.outcome === 'rejected') void this.#ports.swarm.suspect(verdict.contributor);
    }
    this.#ports.onUnit(change.unit, accepted);
  }

  async #ask(peer: Peer, { holds, duty }: FrameOf<FromContributor, 'ask'>): Promise<void> {
    const { storage, directory, clock, random, log } = this.#ports;
    if (this.#stopping) return peer.send(stoppingFrame);
    const alone = directory.peersOf(peer.contributor).length === 1;
    const outcome = await storage.lease({
      contributor: peer.contributor,
      programs: peer.programs,
      assignment: random.bytes32(),
      random: random.u32(),
      now: clock.now(),
      online: directory.online,
      held: alone ? new Set(peer.granted.keys()) : null,
      origin: peer.origin,
      ...(holds ? { holds } : {}),
      ...(duty ? { duty: true } : {}),
    });
    if (outcome.type === 'none') {
      if (outcome.change) this.publish(outcome.change);
      return peer.send({ t: 'idle', reason: outcome.reason, retryMs: outcome.retryMs });
    }
    const { assignment, unit, program, bytes, leaseMs, transitions } = outcome;
    peer.granted.set(assignment, program);
    log.debug({ unit, assignment, contributor: peer.contributor }, 'Leased.');
    const sync = holds?.length ? this.#syncHint(holds, bytes) : undefined;
    peer.send({ t: 'lease', assignment, unit: bytes, leaseMs, ...(sync ? { sync } : {}) });
    this.publish({ unit, transitions, verdicts: [] });
  }

  #syncHint(holds: readonly Cid[], unit: Uint8Array): SyncHint | undefined {
    const checkpoint = decodeWorkunit(unit).inputs['checkpoint'];
    return checkpoint === undefined ? undefined : this.#ports.chain.hint(holds, checkpoint);
  }

  async #commit(peer: Peer, frame: FrameOf<FromContributor, 'commit'>): Promise<void> {
    const { storage, clock, verify, log } = this.#ports;
    const { assignment, commitment, signature } = frame;
    const { contributor } = peer;
    await verify('Commit', { assignment, commitment }, signature, contributor);
    const now = clock.now();
    const message = { assignment, contributor, commitment, signature, now };
    const change = this.#checked(await storage.commit(message));
    await this.#checkNews(peer, assignment, change);
    this.#progress.delete(assignment);
    this.#remember(peer, assignment, { unit: change.unit, commitment });
    log.debug({ unit: change.unit, assignment, contributor }, 'Committed.');
    peer.send({ t: 'committed', assignment });
    this.publish(change);
  }

  /**
   * A commit that changed nothing was made before, over another connection. Where its replica is over by now nothing more will be said of it (a lost reveal has no verdict,
   * and only the latest verdicts are repeated), so the sender is told: it would wait in vain.
   */
  async #checkNews(peer: Peer, assignment: Hex, { transitions, verdicts }: Change): Promise<void> {
    if (transitions.length > 0 || verdicts.length > 0 || peer.granted.has(assignment)) return;
    const replica = await this.#ports.storage.replica(assignment);
    if (!replica || isOpen.has(replica.state)) return;
    throw new AtollError('stale_lease', `This commitment is settled: ${replica.state}.`);
  }

  /** Only what this connection was leased itself, and no more than it may hold: the rest can be looked up. */
  #remember(peer: Peer, assignment: Hex, known: Omit<CommittedReplica, 'program'>): void {
    const program = peer.granted.get(assignment);
    peer.granted.delete(assignment);
    if (program === undefined) return;
    if (peer.committed.size >= committedMax) peer.committed.clear();
    peer.committed.set(assignment, { ...known, program });
  }

  /** An opening that matches the signed commitment is as good as signed; a signature is needed, and checked, only to prove one that does not. */
  async #reveal(peer: Peer, frame: FrameOf<FromContributor, 'reveal'>): Promise<void> {
    const { storage, clock, verify, log } = this.#ports;
    const { assignment, salt, result, signature } = frame;
    const { contributor } = peer;
    const digestBytes = sha256(result);
    const digest = cborCidOfDigest(digestBytes);
    const replica = peer.committed.get(assignment) ?? (await this.#committedReplica(peer, assignment));
    if (!replica) {
      throw new AtollError('stale_lease', 'There is no commitment of yours that waits for this reveal.');
    }
    if (commitmentOf(assignment, contributor, salt, digestBytes, sha256) !== replica.commitment) {
      await verify('Reveal', { assignment, salt, digest: toHex(digestBytes) }, signature, contributor);
      const why = 'The salt and result do not open the commitment.';
      return this.#spoil(peer, assignment, 'commitment_mismatch', why);
    }
    const fault = resultFault(replica, () => this.#ports.results.read(digest, result));
    if (fault) return this.#spoil(peer, assignment, 'bad_request', fault);
    const now = clock.now();
    const change = this.#checked(
      await storage.reveal({ assignment, contributor, salt, digest, result, signature, now }),
    );
    peer.committed.delete(assignment);
    log.debug({ unit: change.unit, assignment, contributor, digest }, 'Revealed.');
    peer.send({ t: 'revealed', assignment });
    this.publish(change);
  }

  /** One that this connection did not commit itself: it was made over another, or before a restart. */
  async #committedReplica(peer: Peer, assignment: Hex): Promise<CommittedReplica | null> {
    const replica = await this.#ports.storage.replica(assignment);
    if (replica?.contributor !== peer.contributor || replica.commitment === null) return null;
    return { unit: replica.unit, program: replica.program, commitment: replica.commitment };
  }

  /** The signed reveal, or the commitment that it opens, is proof that the replica is worthless: it ends at once, and the others need not wait for it. */
  async #spoil(peer: Peer, assignment: Hex, code: ErrorCode, why: string): Promise<void> {
    const { storage, clock } = this.#ports;
    peer.committed.delete(assignment);
    const attempted = await storage.withhold(assignment, peer.contributor, why, clock.now());
    if (attempted.ok) {
      const transitions = attempted.transitions.filter((transition) => transition.type !== 'withheld');
      this.publish({ ...attempted, transitions });
    }
    throw new AtollError(code, why);
  }

  async #release(peer: Peer, frame: FrameOf<FromContributor, 'release'>): Promise<void> {
    const { assignment, reason } = frame;
    this.#progress.delete(assignment);
    peer.granted.delete(assignment);
    const now = this.#ports.clock.now();
    const why = `given back: ${reason}`;
    this.publish(this.#checked(await this.#ports.storage.release(assignment, peer.contributor, why, now)));
  }

  /** What was recorded. A refusal is thrown, after others have been told what follows from it for them. */
  #checked(attempted: Attempted): Change {
    if (attempted.ok) return attempted;
    if (attempted.change) this.publish(attempted.change);
    throw new AtollError(attempted.code, attempted.reason);
  }

  async #note(peer: Peer, frame: FrameOf<FromContributor, 'progress'>): Promise<void> {
    const { assignment, done, total } = frame;
    if (total === 0) return;
    const known = this.#progress.get(assignment)?.unit ?? (await this.#leasedUnit(peer, assignment));
    if (!known || !peer.granted.has(assignment)) return;
    this.#progress.set(assignment, { unit: known, share: Math.min(1, done / total) });
    this.#ports.onUnit(known, false);
  }

  /** The unit of a lease of this contributor; one from before it lost the connection counts as given to this one. */
  async #leasedUnit(peer: Peer, assignment: Hex): Promise<Cid | null> {
    const replica = await this.#ports.storage.replica(assignment);
    if (replica?.contributor !== peer.contributor || replica.state !== 'leased') return null;
    peer.granted.set(assignment, replica.program);
    return replica.unit;
  }

  #tellProblem(contributor: Hex, assignment: Hex, why: string): void {
    const problem = toProblem(new AtollError('stale_lease', `The lease is over: ${why}.`));
    this.#ports.directory.send(contributor, { t: 'problem', problem, assignment });
  }
}

/** Why a result document cannot be one of this unit; null when it can. */
function resultFault({ unit, program }: CommittedReplica, read: () => Result): string | null {
  const expected = outputNames(program);
  try {
    const result = read();
    if (result.unit !== unit) return 'The result is of another unit.';
    const names = Object.keys(result.outputs).sort();
    if (expected && names.join() === expected.join()) return null;
    return `The result has the outputs ${names.join(', ')}; ${expected?.join(', ')} were expected.`;
  } catch (error) {
    return `The result is malformed: ${(error as Error).message}`;
  }
}

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

const stoppingFrame = { t: 'idle', reason: 'the coordinator is stopping', retryMs: 1_000 } as const;

function verdictFrame({ assignment, unit, outcome, credit, reason }: Verdict) {
  return { t: 'verdict', assignment, unit, outcome, credit, reason } as const;
}
