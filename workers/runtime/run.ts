/**
 * One life of the contributor, from start to stop: device, connection, the unit in hand, what is to be settled, and the decision what to
 * do next (`#pump`). Every way in is safe against any order of frames, because each checks what is held before it acts.
 */
import { AtollError, type ErrorCode, type Problem, toProblem } from '#protocol/errors.ts';
import type { FrameOf, FromContributor, FromCoordinator } from '#protocol/messages/frames.ts';
import { limits } from '#protocol/limits.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { type ConnectionEvents, type Session, stayConnected } from './connection.ts';
import { DeviceKeeper, tidyInfo } from './device-keeper.ts';
import type { ComputeDevice, RuntimePorts } from './ports.ts';
import { type Settled, Settlement } from './settlement.ts';
import { fullJitterMs, sleep } from './timing.ts';
import { type HandOutcome, UnitInHand } from './unit-in-hand.ts';
import type { ContributorView } from './view.ts';
import { describe, sentence, type Situation } from './wording.ts';

/** What outlives a run: the figures a person sees. */
export type Figures = Pick<ContributorView, 'agreed' | 'rejected' | 'credit' | 'bytesDown' | 'bytesUp'> & {
  blockBytesDown: number;
  connections: number;
};

type Introduction = Pick<FrameOf<FromContributor, 'hello'>, 'device' | 'probe' | 'programs'>;

/** Faults of this device or program build. Others (network, a bad unit) are waited out. */
const ownFaults: readonly ErrorCode[] = ['internal', 'out_of_memory'];
const expireEveryMs = 30_000;
/** Between looks whether results can be kept again. */
const storeRetryMs = 30_000;

export class Run {
  paused = false;
  draining = false;
  readonly figures: Figures;
  readonly #ports: RuntimePorts;
  readonly #changed: () => void;
  readonly #abort = new AbortController();
  readonly #keeper: DeviceKeeper;
  readonly #settlement: Settlement;
  #failure: Problem | null = null;
  #connection: Promise<void> | null = null;
  #session: Session | null = null;
  /** What keeps the connection down, when it was lost. */
  #downReason: string | null = null;
  #greeted = false;
  /** Ends the connection that the last device was introduced on. */
  #hangUp = new AbortController();
  /** The device that a hello speaks of: the one in use, or the last one while it is being replaced. */
  #introduced: Introduction | null = null;
  #hand: UnitInHand | null = null;
  /** The device still finishes a step of a unit that was dropped. */
  #deviceBusy = false;
  #asking = false;
  #cancelWait: (() => void) | null = null;
  #waitReason: string | null = null;
  /** Releases that could not be sent yet. */
  readonly #releases = new Map<Hex, string>();
  /** Checkpoints computed on lately, the newest first. */
  #checkpoints: readonly Cid[] = [];
  #failuresInARow = 0;
  /** What was last said of this machine's clock. */
  #skewMs = 0;
  /** Results of earlier runs, which the connection waits for. */
  #restored: Promise<void> = Promise.resolve();
  /** Whether a result could be kept has to be looked at before the next unit is asked for. */
  #storeState: 'unknown' | 'looking' | 'good';
  #lastProgressAt = -Infinity;
  #cancelTick: (() => void) | null = null;

  constructor(ports: RuntimePorts, figures: Figures, changed: () => void) {
    this.#ports = ports;
    this.figures = figures;
    this.#changed = changed;
    this.#settlement = new Settlement(ports, {
      changed,
      settled: (ended) => this.#onSettled(ended),
    });
    this.#storeState = ports.replicas ? 'unknown' : 'good';
    const deviceEvents = {
      changed,
      ready: (device: ComputeDevice) => this.#onDevice(device),
      lost: (error: AtollError) => this.#onDeviceLost(error),
      failed: (problem: Problem) => this.#fail(problem),
    };
    this.#keeper = new DeviceKeeper(ports.compute, deviceEvents, ports.log);
  }

  get failed(): boolean {
    return this.#failure !== null;
  }

  begin(): void {
    this.#tick();
    this.#restored = this.#settlement.restore();
    void this.#keeper.open();
  }

  pause(): void {
    this.paused = true;
    this.#dropHand('The contributor was paused.');
    this.#changed();
  }

  /** Finishes the unit in hand and takes no more; undone by `resume`. */
  drain(): void {
    this.paused = false;
    this.draining = true;
    this.#changed();
  }

  resume(): void {
    this.paused = false;
    this.draining = false;
    this.#changed();
    this.#pump();
  }

  /** Gives back what is in hand, closes link and device. */
  async stop(): Promise<void> {
    this.#dropHand('The contributor stops.');
    this.#endWait();
    this.#cancelTick?.();
    this.#settlement.clear();
    this.#abort.abort(new AtollError('cancelled', 'The contributor stops.'));
    const enough = new AbortController();
    const patience = sleep(this.#ports.clock, limits.stopMsMax, enough.signal).catch(() => {});
    await Promise.race([
      Promise.all([this.#connection, this.#keeper.close(), this.#ports.swarm?.stop()]),
      patience,
    ]);
    enough.abort();
  }

  view(): ContributorView {
    const [phase, reason] = describe(this.#situation());
    const hand = this.#hand;
    const device = this.#keeper.device;
    return {
      phase,
      reason,
      problem: this.#failure ?? this.#keeper.problem,
      contributor: this.#ports.signer.address,
      device: device ? tidyInfo(device.info) : null,
      checks: { conforming: this.#keeper.stage === 'ready', connected: this.#session !== null },
      ...(device?.why ? { why: device.why } : {}),
      unit: hand?.program ? { program: hand.program, done: hand.done, total: hand.total } : null,
      pending: this.#settlement.size,
      ...this.figures,
      ...(this.#ports.swarm ? { swarm: this.#ports.swarm.view() } : {}),
    };
  }

  #situation(): Situation {
    return {
      failure: this.#failure,
      paused: this.paused,
      draining: this.draining,
      device: this.#keeper.stage,
      replacing: this.#keeper.problem !== null,
      finishing: this.#deviceBusy,
      connected: this.#session !== null,
      downReason: this.#downReason,
      hand: this.#hand,
      pending: this.#settlement.size,
      full: this.#isFull(),
      waitReason: this.#waitReason,
    };
  }

  // Device

  #onDevice(device: ComputeDevice): void {
    this.#deviceBusy = false;
    const introduction: Introduction = {
      device: tidyInfo(device.info),
      probe: device.probeDigest,
      programs: device.programs.slice(0, limits.programsMax),
    };
    this.#ports.log.info(
      { device: introduction.device, why: device.why },
      'The device passed the conformance probe.',
    );
    const isKnown = JSON.stringify(introduction) === JSON.stringify(this.#introduced);
    this.#introduced = introduction;
    // The coordinator places work by what the hello said, so another device introduces itself on a link of its own.
    if (!isKnown) void this.#connect();
    this.#changed();
    this.#pump();
  }

  #onDeviceLost(error: AtollError): void {
    const hand = this.#hand;
    if (hand?.deviceLost(error)) this.#letGo(hand, 'The device was lost.');
    this.#changed();
  }

  #fail(problem: Problem): void {
    if (this.#failure) return;
    this.#failure = problem;
    this.#dropHand(problem.detail);
    this.#endWait();
    void this.#keeper.close();
    this.#leaveIfDone();
    this.#changed();
  }

  /** After a failure the link stays only for what is still to be settled: nothing computed is forfeited. */
  #leaveIfDone(): void {
    if (this.#failure && this.#settlement.size === 0) this.#abort.abort();
  }

  // Connection

  async #connect(): Promise<void> {
    this.#hangUp.abort();
    const hangUp = new AbortController();
    this.#hangUp = hangUp;
    this.#offline();
    await this.#connection;
    await this.#restored;
    const signal = AbortSignal.any([this.#abort.signal, hangUp.signal]);
    const events: ConnectionEvents = {
      hello: (challenge) => this.#hello(challenge),
      ready: (session, welcome) => this.#onReady(session, welcome),
      frame: (frame) => this.#onFrame(frame),
      down: (cause, retryMs) => this.#onDown(cause, retryMs),
      refused: (problem) => this.#onRefused(problem),
      traffic: (down, up) => this.#onTraffic(down, up),
    };
    this.#connection = stayConnected(this.#ports, events, signal);
  }

  async #hello(challenge: FrameOf<FromCoordinator, 'challenge'>): Promise<FrameOf<FromContributor, 'hello'>> {
    if (!this.#introduced) throw new AtollError('internal', 'A hello needs a device.');
    const { address: contributor } = this.#ports.signer;
    const message = { contributor, nonce: challenge.nonce };
    const signature = await this.#ports.signer.sign(challenge.network, 'Hello', message);
    return { t: 'hello', v: 1, contributor, signature, ...this.#introduced };
  }

  #onReady(session: Session, welcome: FrameOf<FromCoordinator, 'welcome'>): void {
    this.#session = session;
    this.#compareClocks(welcome.now);
    this.figures.connections++;
    this.#ports.swarm?.connected({
      network: session.network,
      send: (frame) => void session.send(frame),
    });
    this.#downReason = null;
    this.#asking = false;
    this.#endWait();
    // Totals of the account. While replicas are held their verdicts may be in them already and be repeated, so only a clean slate counts.
    if (!this.#greeted || this.#settlement.size === 0) {
      this.figures.agreed = welcome.agreed;
      this.figures.credit = welcome.credit;
    }
    this.#greeted = true;
    if (this.#ports.referee && !welcome.referee) this.#fail(this.#noReferee());
    if (this.#hand && this.#hand.network !== session.network) {
      this.#hand.drop();
      this.#hand = null;
    }
    for (const [assignment, reason] of this.#releases)
      void session.send({ t: 'release', assignment, reason });
    this.#releases.clear();
    this.#settlement.resume(session);
    this.#changed();
    this.#leaveIfDone();
    this.#pump();
  }

  #noReferee(): Problem {
    const { address } = this.#ports.signer;
    return toProblem(
      new AtollError(
        'bad_config',
        `The coordinator does not know ${address} as a referee: add it to ATOLL_REFEREES there, or leave --referee out here.`,
      ),
    );
  }

  /** Nothing here goes by the date, but TLS and what contributors tell each other do. */
  #compareClocks(theirs: number | undefined): void {
    const { date, log } = this.#ports;
    if (theirs === undefined || !date) return;
    const skewMs = Math.round(date() - theirs);
    const isFar = Math.abs(skewMs) > limits.clockSkewMsMax;
    if (isFar && Math.abs(skewMs - this.#skewMs) > limits.clockSkewMsMax / 2) {
      const by = `${(Math.abs(skewMs) / 60_000).toFixed(1)} minutes ${skewMs > 0 ? 'ahead of' : 'behind'}`;
      const means = 'Work goes on; blocks from other contributors may be refused until it is set right.';
      log.warn({ skewMs }, `The clock of this machine is ${by} the coordinator's. ${means}`);
    }
    this.#skewMs = isFar ? skewMs : 0;
  }

  #onDown(cause: Problem, retryMs: number): void {
    this.#offline();
    this.#downReason = `${sentence(cause.detail)} Trying again in ${(retryMs / 1000).toFixed(1)} s.`;
    this.#ports.log.warn({ code: cause.code, retryMs }, this.#downReason);
    this.#changed();
  }

  #onRefused(problem: Problem): void {
    this.#offline();
    this.#settlement.clear();
    this.#fail(problem);
  }

  #offline(): void {
    this.#session = null;
    this.#ports.swarm?.disconnected();
    this.#asking = false;
    this.#endWait();
    this.#settlement.suspend();
  }

  #onTraffic(down: number, up: number): void {
    this.figures.bytesDown += down;
    this.figures.bytesUp += up;
    this.#changed();
  }

  #onFrame(frame: FromCoordinator): void {
    if (frame.t === 'lease') return this.#onLease(frame);
    if (frame.t === 'peers') return this.#ports.swarm?.neighbours(frame.peers);
    if (frame.t === 'idle') return this.#onIdle(sentence(frame.reason), frame.retryMs);
    const about = 'assignment' in frame ? frame.assignment : undefined;
    if (frame.t === 'problem' && about === undefined) return this.#onProblem(frame.problem);
    // Whatever ends the lease in hand ends the work on it: there is nothing left to give back.
    const hand = this.#hand;
    const ends = frame.t === 'verdict' || (frame.t === 'problem' && !frame.problem.retryable);
    if (ends && hand && about === hand.assignment && hand.drop()) this.#hand = null;
    this.#settlement.onFrame(frame);
    this.#changed();
    this.#leaveIfDone();
    this.#pump();
  }

  #onProblem(problem: Problem): void {
    this.#ports.log.warn({ code: problem.code }, problem.detail);
    if (!this.#asking) return;
    const { reconnectMsMax: max } = limits;
    this.#onIdle(
      sentence(problem.detail),
      limits.idleRetryMs + fullJitterMs(0, max, max, this.#ports.randomBytes),
    );
  }

  #onSettled({ outcome, credit, isOld }: Settled): void {
    if (isOld) return;
    if (outcome === 'agreed') this.figures.agreed++;
    if (outcome === 'rejected') this.figures.rejected++;
    this.figures.credit += credit;
  }

  // Work

  /** Asks for work when nothing speaks against it. Called after every change. */
  #pump(): void {
    const device = this.#keeper.stage === 'ready' ? this.#keeper.device : null;
    if (!device || !this.#session || this.paused || this.#failure || this.#abort.signal.aborted) return;
    if (this.draining || this.#hand || this.#deviceBusy || this.#asking || this.#cancelWait) return;
    if (this.#isFull()) return;
    if (this.#storeState !== 'good') return void this.#lookAtStore();
    this.#asking = true;
    const holds = this.#checkpoints.filter((cid) => this.#ports.cache.has(cid));
    void this.#session.send({
      t: 'ask',
      ...(holds.length > 0 ? { holds } : {}),
      ...(this.#ports.referee ? { duty: 'referee' } : {}),
    });
  }

  /** What could not be kept would not be committed to, so nothing is computed until it can be. */
  async #lookAtStore(): Promise<void> {
    if (this.#storeState === 'looking') return;
    this.#storeState = 'looking';
    try {
      await this.#settlement.checkStore();
      this.#storeState = 'good';
      this.#pump();
    } catch (error) {
      this.#storeState = 'unknown';
      const { code, detail } = toProblem(error);
      this.#ports.log.error({ code }, `${sentence(detail)} No unit is taken until results can be kept.`);
      const waitMs = fullJitterMs(0, storeRetryMs, storeRetryMs, this.#ports.randomBytes);
      this.#onIdle(sentence(detail), storeRetryMs + waitMs);
    }
  }

  /** Enough is computed and not settled. */
  #isFull(): boolean {
    const { pinnedBytes, limitBytes } = this.#ports.cache;
    return this.#settlement.size >= limits.leasesPerContributorMax || pinnedBytes > limitBytes / 2;
  }

  #onIdle(reason: string, retryMs: number): void {
    this.#asking = false;
    this.#endWait();
    this.#waitReason = reason;
    const { idleRetryMsMin: min, idleRetryMsMax: max } = limits;
    this.#cancelWait = this.#ports.clock.after(Math.min(max, Math.max(min, retryMs)), () => {
      this.#cancelWait = null;
      this.#pump();
    });
    this.#changed();
  }

  #endWait(): void {
    this.#cancelWait?.();
    this.#cancelWait = null;
    this.#waitReason = null;
  }

  #onLease(lease: FrameOf<FromCoordinator, 'lease'>): void {
    this.#asking = false;
    this.#endWait();
    if (lease.assignment === this.#hand?.assignment || this.#settlement.holds(lease.assignment)) return;
    const device = this.#keeper.stage === 'ready' ? this.#keeper.device : null;
    const refusal = this.#whyNot();
    if (refusal || !device || !this.#session) {
      return this.#release(lease.assignment, refusal ?? 'The contributor is not ready.');
    }
    const ports = { ...this.#ports, settlement: this.#settlement };
    const hand = new UnitInHand(lease, this.#session.network, device, ports, {
      changed: () => this.#onProgress(hand),
      downloaded: (bytes) => {
        this.figures.blockBytesDown += bytes;
        this.#onTraffic(bytes, 0);
      },
    });
    this.#hand = hand;
    this.#deviceBusy = true;
    void hand.idle.then(() => this.#onDeviceIdle(device));
    void hand.ended.then((outcome) => this.#onHandEnded(hand, device, outcome));
    this.#changed();
  }

  #whyNot(): string | null {
    if (this.#hand || this.#deviceBusy) return 'Another unit is in hand.';
    if (this.paused || this.draining) return 'The contributor is paused.';
    if (this.#failure) return 'The contributor has failed.';
    return null;
  }

  #onProgress(hand: UnitInHand): void {
    if (this.#hand !== hand) return;
    const now = this.#ports.clock.now();
    if (hand.done > 0 && now - this.#lastProgressAt >= limits.progressMsMin) {
      this.#lastProgressAt = now;
      const { assignment, done, total } = hand;
      void this.#session?.send({ t: 'progress', assignment, done, total });
    }
    this.#changed();
  }

  #onDeviceIdle(device: ComputeDevice): void {
    if (this.#keeper.device !== device) return;
    this.#deviceBusy = false;
    this.#pump();
  }

  #onHandEnded(hand: UnitInHand, device: ComputeDevice, outcome: HandOutcome): void {
    const { checkpoint } = hand;
    if (checkpoint !== null) {
      const others = this.#checkpoints.filter((cid) => cid !== checkpoint);
      this.#checkpoints = [checkpoint, ...others].slice(0, limits.holdsMax);
    }
    if (outcome.kind === 'committed') {
      this.#keeper.proven();
      this.#failuresInARow = 0;
    }
    if (this.#hand !== hand) return;
    this.#hand = null;
    if (outcome.kind === 'failed' || outcome.kind === 'late') this.#onHandFailed(hand, device, outcome);
    this.#changed();
    this.#pump();
  }

  #onHandFailed(
    hand: UnitInHand,
    device: ComputeDevice,
    { kind, error }: Extract<HandOutcome, { error: AtollError }>,
  ): void {
    this.#ports.log.warn(
      { code: error.code, program: hand.program, err: error },
      'A unit could not be computed.',
    );
    this.#release(hand.assignment, error.message);
    if (error.code === 'storage_failed' && this.#ports.replicas) this.#storeState = 'unknown';
    if (error.code === 'device_lost') return this.#keeper.lose(device, error);
    this.#failuresInARow++;
    const own = kind === 'late' || ownFaults.includes(error.code);
    if (own && this.#failuresInARow >= limits.unitFailuresMax) return this.#fail(toProblem(error));
    const { idleRetryMs: min, reconnectMsMax: max } = limits;
    const waitMs = min + fullJitterMs(this.#failuresInARow, min, max, this.#ports.randomBytes);
    this.#onIdle(`The last unit was given back: ${sentence(error.message)}`, waitMs);
  }

  #dropHand(reason: string): void {
    const hand = this.#hand;
    if (hand?.drop()) this.#letGo(hand, reason);
  }

  #letGo(hand: UnitInHand, reason: string): void {
    this.#hand = null;
    this.#release(hand.assignment, reason);
  }

  #release(assignment: Hex, text: string): void {
    const reason = text.slice(0, limits.reasonCharsMax);
    if (this.#session) void this.#session.send({ t: 'release', assignment, reason });
    else if (this.#releases.size < limits.leasesPerContributorMax) this.#releases.set(assignment, reason);
  }

  #tick(): void {
    this.#cancelTick = this.#ports.clock.after(expireEveryMs, () => {
      this.#tick();
      this.#settlement.expire();
      this.#leaveIfDone();
      this.#pump();
    });
  }
}
