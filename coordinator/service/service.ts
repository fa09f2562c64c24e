/**
 * The coordinator without its doors: joins storage, planner, contributors and chain. Routes and sockets are plugged in by `coordinator/main.ts`.
 */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { JobStatus, RoundSummary } from '#protocol/http/api.ts';
import { type BlockStore, readFile, writeFile } from '#protocol/messages/file.ts';
import { decodeJob, encodeJob, type Job, jobId } from '#protocol/messages/job.ts';
import type { Hex } from 'viem';
import type { Anchor } from '../anchor/port.ts';
import { noBus } from '../bus/local.ts';
import type { EventBus } from '../bus/port.ts';
import type { ServerIdentity } from '../identity.ts';
import { unigramEntropy } from '../planner/corpus.ts';
import { createPlan, type Plan } from '../planner/plan.ts';
import { Swarm } from '../p2p/swarm.ts';
import type { Blobs } from '../storage/blobs.ts';
import type { Change, JobRecord, RoundRecord, Storage } from '../storage/port.ts';
import { Anchoring } from './anchoring.ts';
import { Changes } from './changes.ts';
import { Desk } from './desk.ts';
import type { Directory } from './directory.ts';
import { Endings } from './endings.ts';
import type { EventHub } from './events.ts';
import { Fellows, type FellowHooks } from './fellows.ts';
import { checkJob, recorder } from './job-input.ts';
import { JobRunner } from './job-runner.ts';
import { LedgerQueries } from './ledger-queries.ts';
import type { Metrics } from './metrics.ts';
import type { Clock, Logger, Random, Timing } from './ports.ts';
import { networkPrefix } from './network-prefix.ts';
import { startPings } from './pings.ts';
import { ToldStates } from './public-state.ts';
import { Pulls } from './pulls.ts';
import { Queries } from './queries.ts';
import { RewardsBoard } from './rewards-board.ts';
import { Results } from './results.ts';
import { Sessions } from './sessions.ts';
import { SignaturePool } from './signature-pool.ts';
import { UpdateChain } from './update-chain.ts';

export type InitialCheckpoint = (model: Job['model'], seed: number, blocks: BlockStore) => Promise<Cid>;

export interface ServicePorts {
  storage: Storage;
  blobs: Blobs;
  anchor: Anchor | null;
  /** Other coordinators on the same database; nobody unless given. */
  bus?: EventBus;
  /** Whether this process is the one that anchors; it is unless given. */
  leads?: () => Promise<boolean>;
  clock: Clock;
  random: Random;
  timing: Timing;
  log: Logger;
  initialCheckpoint: InitialCheckpoint;
  probe: Hex | null;
  /** What this network's coordinator is known by; nothing unless given. */
  identity?: ServerIdentity;
  /** The wallet linked to a contributor. */
  ownerOf?: (contributor: Hex) => Promise<Hex | null>;
  /** Contributors whose word is final; nobody unless given. */
  referees?: ReadonlySet<Hex>;
  stopAfterRounds: number;
  /** Rounds in all of a job that says so itself; null for others. */
  roundsOf?: (job: Cid) => Promise<number | null>;
  onRound?: (job: Cid, summary: RoundSummary) => void;
  onAnchor?: (job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>) => void;
}

export interface JobOptions {
  /** Rounds in all, counted from the job's first; the service's own number unless given. */
  stopAfterRounds?: number;
  /** True entropy per byte of a generated corpus. */
  sourceEntropy?: number;
  /** Other jobs rest. */
  alone?: boolean;
  /** Its share of the network among other jobs; 1 unless given. Counts when the job is new. */
  weight?: number;
}

/** Ledger entries chained at once: sums and shares are written once for all of them. */
const sealMax = 1_024;
/** A gap between looks at the clock that no load explains. */
const asleepMs = 10_000;
/** Between looks at the network as a whole. */
const surveyMs = 5_000;
/** Connections whose open reveals are looked up again at a time. */
const reopenedMax = 64;
/** Proven liars reviewed at a time. */
const suspectsMax = 16;
const eventUnitsMax = 64;
/** Changed units that may wait to be shown. Under such a load nobody follows single units. */
const changedUnitsMax = 4096;

export class Service {
  readonly directory: Directory;
  readonly events: EventHub;
  readonly queries: Queries;
  readonly ledger: LedgerQueries;
  readonly metrics: Metrics;
  /** Who exchanges blocks with whom. */
  readonly swarm: Swarm;
  readonly #chain = new UpdateChain();
  readonly #ports: ServicePorts;
  readonly #signatures: SignaturePool;
  readonly #fellows: Fellows;
  readonly #desk: Desk;
  readonly #pulls: Pulls;
  readonly #rewards: RewardsBoard;
  readonly #anchoring: Anchoring | null;
  readonly #runners = new Map<Cid, JobRunner>();
  readonly #endings: Endings;
  readonly #sessions = new Sessions();
  readonly #changedUnits = new Set<Cid>();
  readonly #told = new ToldStates();
  readonly #changes = new Changes();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #roundsShown = new Map<Cid, number>();
  /** Changed units that other processes have yet to be told of. */
  readonly #untold = new Set<Cid>();
  #untoldAccepted = false;
  #surveyed = 0;
  #resyncing: Promise<void> | null = null;
  #onlineShown = -1;
  #sweptAt: number;
  #surveyedAt = -Infinity;
  #sweeping: Promise<void> | null = null;
  #showing: Promise<void> | null = null;
  #closed = false;
  #draining = false;

  constructor(ports: ServicePorts, directory: Directory, events: EventHub, metrics: Metrics) {
    const { storage, blobs, clock, random, timing, log, anchor } = ports;
    this.#ports = ports;
    this.#sweptAt = clock.now();
    this.directory = directory;
    this.events = events;
    this.metrics = metrics;
    const onUnit = (unit: Cid, accepted: boolean) => this.#onUnit(unit, accepted);
    this.#signatures = new SignaturePool({ network: storage.network, clock, log });
    const { verify } = this.#signatures;
    const results = new Results();
    this.swarm = new Swarm({
      ...{ network: storage.network, directory, clock, random, log },
      isOutlawed: async (contributor) => (await storage.records.standing(contributor))?.outlawed ?? false,
      complained: (fault) => metrics.complaint(fault),
    });
    const { swarm } = this;
    const chain = this.#chain;
    this.#desk = new Desk({
      ...{ storage, directory, clock, random, verify, results, log, metrics, onUnit, swarm, chain },
    });
    const onChange = (change: Change) => this.#desk.publish(change);
    this.#fellows = new Fellows(ports.bus ?? noBus, directory, this.#hooks());
    const elsewhere = this.#fellows.areThere
      ? { elsewhere: (unit: Cid) => this.#fellows.tellAgreed(unit) }
      : {};
    this.#pulls = new Pulls({
      storage,
      blobs,
      results,
      directory,
      clock,
      timing,
      log,
      onChange,
      ...elsewhere,
    });
    this.#desk.connect(this.#pulls);
    this.#anchoring = anchor
      ? new Anchoring({
          storage,
          anchor,
          log,
          leads: ports.leads ?? (async () => true),
          onAnchor: (job, round, made) => this.#onAnchor(job, round, made),
        })
      : null;
    this.#rewards = new RewardsBoard({ storage, clock });
    this.#endings = new Endings(storage);
    this.ledger = new LedgerQueries({
      ledger: storage.ledger,
      lineage: storage.lineage,
      board: this.#rewards,
    });
    this.queries = new Queries({
      storage,
      blobs,
      directory,
      progressOf: (unit) => this.#desk.progressOf(unit),
      stopAfter: (job) => this.#runners.get(job)?.stopAfterRounds ?? null,
    });
  }

  /** Throws `unavailable` once the coordinator is about to stop: send nobody here any more. */
  checkOpen(): void {
    if (this.#draining) throw new AtollError('unavailable', 'The coordinator is stopping.');
  }

  /** Contributors connected, to any process as far as that is known. */
  get online(): number {
    const here = this.directory.online;
    return this.#fellows.areThere ? Math.max(here, this.#surveyed) : here;
  }

  get network(): Hex {
    return this.#ports.storage.network;
  }

  /** Takes up what the database says was going on. */
  async start(): Promise<void> {
    const { storage, clock, timing } = this.#ports;
    await storage.resume(clock.now(), timing.downtimeGraceMs);
    for (const contributor of await storage.lessees())
      this.directory.expect(contributor, timing.downtimeGraceMs);
    for (const record of await storage.jobs()) {
      if (record.active) await this.#takeUp(record);
      else this.#endings.add(record.id);
    }
    this.#wakeRunners();
    for (const unit of await storage.agreedUnits()) this.#pulls.start(unit);
    this.#timers.push(setInterval(() => this.#sweep(), timing.sweepMs));
    this.#timers.push(setInterval(() => this.#showChanges(), timing.eventMs));
    if (this.#fellows.areThere) this.#timers.push(setInterval(() => this.#resync(), timing.resyncMs));
    this.#timers.push(startPings(this.#sessions.open, timing.pingMs));
  }

  /**
   * Makes sure that a job is being worked on: new, known or resting. `corpus` may be left out of the job; it is computed from the bytes.
   * Throws `bad_input` on a text or job that cannot be trained.
   */
  async ensureJob(
    wanted: Omit<Job, 'corpus'> & Partial<Job>,
    corpus: Uint8Array,
    options: JobOptions = {},
  ): Promise<Cid> {
    const { storage, blobs, clock } = this.#ports;
    const cids: Cid[] = [];
    const recording = recorder(blobs, cids);
    // Checked before anything is written, with a corpus that is filled in after.
    const job = checkJob({ ...wanted, corpus: wanted.corpus ?? { size: 0, blocks: [] } });
    const plan = createPlan(job, corpus);
    const file = await writeFile(recording, corpus);
    if (wanted.corpus && JSON.stringify(wanted.corpus) !== JSON.stringify(file)) {
      throw new AtollError('bad_input', 'The text is not the one that the job names.');
    }
    const complete: Job = { ...job, corpus: file };
    const id = jobId(complete);
    const known = (await storage.jobs()).find((record) => record.id === id);
    // Of a cancelled job what it begins with may have been collected.
    if (!known || known.cancelled) {
      const initial = await this.#ports.initialCheckpoint(complete.model, complete.seed, recording);
      await storage.addJob(
        {
          id,
          bytes: encodeJob(complete),
          initial,
          unigramEntropy: unigramEntropy(corpus),
          sourceEntropy: options.sourceEntropy ?? null,
          createdAt: clock.now(),
          ...(options.weight === undefined ? {} : { weight: options.weight }),
        },
        cids,
      );
    }
    await this.#activate(id, options.alone ?? false);
    const record = (await storage.jobs()).find((each) => each.id === id) as JobRecord;
    const stopAfter = options.stopAfterRounds ?? this.#ports.stopAfterRounds;
    await this.#begin(record, { ...plan, job: complete }, stopAfter).settled();
    return id;
  }

  /** `alone`: others rest, but for those that clients have started. */
  async #activate(id: Cid, alone: boolean): Promise<void> {
    const { storage } = this.#ports;
    const going = (await storage.jobs()).filter((record) => record.active).map((record) => record.id);
    const active = new Set([id]);
    for (const job of [...going, ...this.#runners.keys()]) {
      if (!alone || (await this.#isClients(job))) active.add(job);
    }
    for (const [job, runner] of this.#runners) {
      if (!active.has(job)) await this.#leave(job, runner);
    }
    await storage.setActiveJobs([...active]);
    this.#fellows.tellJobs();
    await this.#endings.look();
  }

  async #leave(job: Cid, runner: JobRunner): Promise<void> {
    this.#runners.delete(job);
    this.#endings.add(job);
    await runner.close();
  }

  /** A job rests from now on, or is cancelled: what nobody has leased yet is offered to nobody. A cancelled one's commitments are void too. */
  async setAside(id: Cid, cancelled: boolean): Promise<void> {
    const { storage, clock } = this.#ports;
    const runner = this.#runners.get(id);
    if (runner) await this.#leave(id, runner);
    await storage.changeJob(id, cancelled ? { cancelled } : { active: false });
    this.#fellows.tellJobs();
    const open = cancelled ? await storage.slotsAfter(id, 0) : [];
    for (const { unit, phase, replicas } of open) {
      if (phase !== 'gathering' || replicas === 0) continue;
      const change = await storage.withdraw(unit, 'its job has been cancelled', clock.now());
      if (change.ok) this.#desk.publish(change);
    }
    await this.#endings.look();
  }

  /** A job that rests goes on. */
  async takeUpAgain(id: Cid): Promise<void> {
    const { storage } = this.#ports;
    await storage.changeJob(id, { active: true });
    this.#fellows.tellJobs();
    await this.#takeUp((await storage.jobs()).find((record) => record.id === id) as JobRecord);
  }

  async #isClients(job: Cid): Promise<boolean> {
    return ((await this.#ports.roundsOf?.(job)) ?? null) !== null;
  }

  /** A job that was begun in an earlier life, or by another process. */
  async #takeUp(record: JobRecord): Promise<void> {
    const rounds = (await this.#ports.roundsOf?.(record.id)) ?? this.#ports.stopAfterRounds;
    this.#begin(record, await this.#planOf(record), rounds);
  }

  async #planOf(record: JobRecord): Promise<Plan> {
    const job = decodeJob(record.bytes);
    return createPlan(job, await readFile(this.#ports.blobs, job.corpus));
  }

  #begin(record: JobRecord, plan: Plan, stopAfterRounds: number): JobRunner {
    const { storage, blobs, clock, log } = this.#ports;
    const running = this.#runners.get(record.id);
    if (running) {
      running.stopAfterRounds = stopAfterRounds;
      running.wake();
      return running;
    }
    const runner = new JobRunner(record, plan, stopAfterRounds, {
      storage,
      blobs,
      clock,
      log,
      rewards: this.#rewards,
      chain: this.#chain,
      onRound: (round) => this.#onRound(round),
      onPlanned: (units) => {
        for (const unit of units) this.#changedUnits.add(unit);
      },
      onChange: (change) => this.#desk.publish(change),
    });
    this.#runners.set(record.id, runner);
    this.#endings.remove(record.id);
    runner.wake();
    this.#anchoring?.wake(record.id);
    return runner;
  }

  /** A WebSocket has been opened on the contribute route, over `wire`. */
  admit(socket: WebSocket, wire: Duplex, address?: string): void {
    const { storage, clock, random, timing, log, probe } = this.#ports;
    if (this.#closed || this.#draining) return socket.close(1013);
    this.#sessions.admit(socket, wire, {
      storage,
      directory: this.directory,
      desk: this.#desk,
      clock,
      random,
      verify: this.#signatures.verify,
      timing,
      log,
      metrics: this.metrics,
      probe,
      prefix: networkPrefix(address, storage.secret),
      ...(this.#ports.identity ? { identity: this.#ports.identity } : {}),
      ownerOf: async (contributor) => (await this.#ports.ownerOf?.(contributor)) ?? contributor,
      isReferee: (contributor) => this.#ports.referees?.has(contributor) ?? false,
    });
  }

  /** Resolves when the job has that many closed rounds and, where there is a chain, all of them are anchored. */
  async settled(job: Cid, rounds: number, signal?: AbortSignal): Promise<JobStatus> {
    for (;;) {
      signal?.throwIfAborted();
      const changed = this.#changes.next(signal);
      const status = await this.queries.job(job);
      const enough = status.rounds.slice(0, rounds);
      const anchored = !this.#anchoring || enough.every((round) => round.anchor !== null);
      if (enough.length >= rounds && anchored) return status;
      await changed;
    }
  }

  /** For a planned stop: no more leases, what has arrived is answered, everybody is told goodbye. Takes no longer than `timing.drainMs`. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#desk.stopLeases();
    await this.#sessions.drain(this.#ports.timing.drainMs);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#sessions.close();
    this.#fellows.close();
    this.swarm.close();
    await Promise.all([this.#sweeping, this.#showing, this.#resyncing]);
    await this.#pulls.close();
    await this.#endings.look().catch(() => undefined);
    await this.#signatures.close();
    await this.#anchoring?.close();
    await Promise.all([...this.#runners.values()].map((runner) => runner.close()));
  }

  #onUnit(unit: Cid, accepted: boolean): void {
    this.#changedUnits.add(unit);
    if (this.#fellows.areThere) {
      this.#untold.add(unit);
      this.#untoldAccepted ||= accepted;
    }
    if (accepted) this.#wakeRunners();
  }

  #wakeRunners(): void {
    for (const runner of this.#runners.values()) runner.wake();
    this.#endings.look().catch((error: unknown) => {
      this.#ports.log.warn({ problem: toProblem(error) }, 'Results of a job at rest are yet to be shown.');
    });
  }

  #onRound({ job, summary }: RoundRecord): void {
    if (this.#showRound(job, summary)) this.#fellows.tellRound(job, summary);
    this.#ports.onRound?.(job, summary);
  }

  /** False for a round that was shown before: several processes may close it. */
  #showRound(job: Cid, summary: RoundSummary): boolean {
    const isNew = summary.round > (this.#roundsShown.get(job) ?? 0);
    if (isNew) {
      this.#roundsShown.set(job, summary.round);
      this.metrics.round();
      this.events.publish(job, { type: 'round', round: summary });
    }
    this.#anchoring?.wake(job);
    this.#changes.tell();
    return isNew;
  }

  #onAnchor(job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>): void {
    this.#showAnchor(job, round, anchor);
    this.#fellows.tellAnchor(job, round, anchor);
    this.#ports.onAnchor?.(job, round, anchor);
  }

  #showAnchor(job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>): void {
    this.events.publish(job, { type: 'anchor', round, anchor });
    this.#changes.tell();
  }

  /** What is done about what other processes say. */
  #hooks(): FellowHooks {
    return {
      onUnits: (units, accepted) => {
        for (const unit of units) this.#changedUnits.add(unit);
        if (accepted) this.#wakeRunners();
      },
      onAgreed: (unit) => this.#pulls.start(unit),
      onRound: (job, round) => {
        this.#showRound(job, round);
        this.#runners.get(job)?.wake();
      },
      onAnchor: (job, round, anchor) => this.#showAnchor(job, round, anchor),
      onJobs: () => this.#resync(),
      onGap: () => this.#resync(),
    };
  }

  /** Looks in the database for what other processes have done and may have told in vain. One at a time. */
  #resync(): void {
    if (this.#closed) return;
    this.#resyncing ??= this.#resyncOnce()
      .catch((error: unknown) => {
        this.#ports.log.warn({ problem: toProblem(error) }, 'A look for news of other processes failed.');
      })
      .finally(() => (this.#resyncing = null));
  }

  async #resyncOnce(): Promise<void> {
    const { storage } = this.#ports;
    const records = (await storage.jobs()).filter((record) => record.active);
    const active = new Set(records.map((record) => record.id));
    for (const [job, runner] of this.#runners) {
      if (!active.has(job)) await this.#leave(job, runner);
    }
    for (const record of records) {
      if (this.#closed) return;
      const runner = this.#runners.get(record.id);
      if (runner) runner.wake();
      else await this.#takeUp(record);
      this.#anchoring?.wake(record.id);
    }
    this.#pulls.resync(await storage.agreedUnits());
    await this.#desk.openAgain(reopenedMax);
    this.#changes.tell();
  }

  /** Ends what ran out of time, gives back what was left behind, chains the ledger. One at a time. */
  #sweep(): void {
    this.#sweeping ??= this.#sweepOnce()
      .catch((error: unknown) => {
        this.#ports.log.error(
          { problem: toProblem(error) },
          'The clock work of the coordinator failed; trying again.',
        );
      })
      .finally(() => (this.#sweeping = null));
  }

  async #sweepOnce(): Promise<void> {
    const { storage, clock, timing } = this.#ports;
    const slept = clock.now() - this.#sweptAt > timing.sweepMs + asleepMs;
    this.#sweptAt = clock.now();
    // This machine was asleep: to everybody else that is downtime like any other.
    if (slept) await storage.resume(clock.now(), timing.downtimeGraceMs);
    await this.#survey();
    for (const change of await storage.tick(clock.now())) this.#desk.publish(change);
    const away = await this.#fellows.seek(this.directory.takeAway(timing.awayMs));
    for (const contributor of away) {
      const changes = await storage.releaseAll(contributor, 'the contributor went away', clock.now());
      for (const change of changes) this.#desk.publish(change);
    }
    await this.#review();
    while ((await storage.seal(sealMax)) === sealMax && !this.#closed);
  }

  /** Who is here, and how much of the network has been found lying: what replication is decided by. */
  async #survey(): Promise<void> {
    const now = this.#ports.clock.now();
    if (now - this.#surveyedAt < surveyMs) return;
    this.#surveyedAt = now;
    this.#surveyed = (await this.#ports.storage.survey(this.directory.presences(), now)).online;
  }

  /** Looks again at what proven liars have touched, in steps that others come between. */
  async #review(): Promise<void> {
    const { storage, clock } = this.#ports;
    for (const { contributor, from } of await storage.suspects(suspectsMax)) {
      if (this.#closed) return;
      const { changes } = await storage.review(contributor, from, clock.now());
      for (const change of changes) this.#desk.publish(change);
    }
  }

  /** Events are hints: one that cannot be made now is made up for by the next. */
  #showChanges(): void {
    this.#showing ??= this.#flushEvents()
      .catch((error: unknown) => {
        this.#ports.log.warn({ problem: toProblem(error) }, 'The events of some units were lost.');
      })
      .finally(() => (this.#showing = null));
  }

  /** Unit events, coalesced: the latest state of each unit that changed. */
  async #flushEvents(): Promise<void> {
    this.#fellows.tellUnits(this.#untold, this.#untoldAccepted);
    this.#untold.clear();
    this.#untoldAccepted = false;
    const { online } = this;
    if (online !== this.#onlineShown) this.events.publishAll({ type: 'contributors', online });
    this.#onlineShown = online;
    if (this.#changedUnits.size > (this.events.isHeard ? changedUnitsMax : 0)) {
      this.#changedUnits.clear();
      this.events.lose();
    }
    let looked = 0;
    const jobs = new Set<Cid>();
    for (const unit of this.#changedUnits) {
      if (looked++ === eventUnitsMax) break;
      this.#changedUnits.delete(unit);
      for (const { job } of await this.#ports.storage.slotsOfUnit(unit)) jobs.add(job);
    }
    // What is told of an unpublished unit is that of its whole job, so that no event says which unit changed.
    for (const job of jobs) {
      for (const unit of this.#told.news(job, await this.queries.laneStates(job))) {
        this.events.publish(job, { type: 'unit', unit });
      }
    }
  }
}
