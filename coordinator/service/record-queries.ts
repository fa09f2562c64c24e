/**
 * What the HTTP side asks about who is here, what was decided and what it came to, in the shapes of `protocol/http/records.ts`.
 *
 * Only published results are read, and sums leave out what belongs to others: a number that moves when a sealed result is accepted would tell of it.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { LedgerPage, ShareInfo } from '#protocol/http/ledger.ts';
import type {
  Consensus,
  DecisionList,
  DeltaList,
  Figures,
  PeerList,
  Standing,
  WalletInfo,
} from '#protocol/http/records.ts';
import { decodeResult } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import * as v from 'valibot';
import { firstTip, shareChanges } from '../ledger/chain.ts';
import { slotKinds } from '../planner/plan.ts';
import type { Place, PublishedReplica, PublishedUnit, StandingRecord, Storage } from '../storage/port.ts';
import type { Swarm } from '../p2p/swarm.ts';
import type { Directory } from './directory.ts';
import type { EventHub } from './events.ts';
import { shownTransfer } from './ledger-queries.ts';
import { type Page, pageOf, readCursor } from './pages.ts';
import type { Clock } from './ports.ts';
import type { Queries } from './queries.ts';

export interface RecordQueryPorts {
  storage: Pick<Storage, 'jobs' | 'rounds' | 'records' | 'ledger' | 'unit'>;
  directory: Directory;
  swarm: Pick<Swarm, 'counts'>;
  events: EventHub;
  queries: Queries;
  clock: Clock;
}

const placeCursor = v.tuple([
  v.pipe(v.number(), v.integer()),
  v.picklist(slotKinds),
  v.pipe(v.number(), v.integer()),
]);
const addressCursor = v.tuple([v.pipe(v.string(), v.regex(/^0x[0-9a-f]{40}$/))]);
const figuresMs = 2_000;
/** Transfers beyond what is published; more are looked at piece by piece. */
const hiddenMax = 5_000;

export class RecordQueries {
  readonly #ports: RecordQueryPorts;
  #figures: { at: number; made: Promise<Figures> } | null = null;

  constructor(ports: RecordQueryPorts) {
    this.#ports = ports;
  }

  peers({ limit, cursor }: Page): PeerList {
    const after = readCursor(addressCursor, cursor)?.[0] ?? '';
    const here = this.#ports.directory.contributors().filter((contributor) => contributor > after);
    const { rows, next } = pageOf(here.toSorted().slice(0, limit + 1), limit, (contributor) => [contributor]);
    const peers = rows.map((contributor) => {
      const connected = this.#ports.directory.peersOf(contributor);
      const exchange = this.#ports.swarm.counts(contributor);
      return {
        contributor,
        connections: connected.length,
        vendor: connected.at(-1)?.origin.vendor ?? '',
        programs: [...new Set(connected.flatMap((peer) => [...peer.programs]))].toSorted(),
        ...(exchange.peers > 0 ? { swarm: exchange } : {}),
      };
    });
    return { peers, next, swarm: this.#ports.swarm.counts() };
  }

  /** Throws `not_found` for an address that no contributor has or is linked to. */
  async wallet(wallet: Hex, { limit, cursor }: Page): Promise<WalletInfo> {
    const after = readCursor(addressCursor, cursor)?.[0] as Hex | undefined;
    const page = { ...(after === undefined ? {} : { after }), most: limit + 1 };
    const records = await this.#ports.storage.records.contributorsOf(wallet, page);
    if (records.length === 0 && after === undefined) {
      throw new AtollError('not_found', 'No contributor has this address or is linked to it.');
    }
    const { rows, next } = pageOf(records, limit, (record) => [record.contributor]);
    return { wallet, contributors: await Promise.all(rows.map((row) => this.#standing(row))), next };
  }

  async #standing(record: StandingRecord): Promise<Standing> {
    const { storage, directory } = this.#ports;
    const { contributor, trusted, outlawed } = record;
    const [hidden, { posted, escrowed }] = await Promise.all([
      storage.records.unpublished(contributor),
      storage.ledger.balancesOf(contributor),
    ]);
    // What is earned last is escrowed as long as there is an escrow.
    const [own, waiting] = trusted ? [posted - hidden.credit, escrowed] : [posted, escrowed - hidden.credit];
    return {
      contributor,
      online: directory.isOnline(contributor),
      agreed: Math.max(0, record.agreed - hidden.agreed),
      rejected: Math.max(0, record.rejected - hidden.rejected),
      posted: amount(own),
      escrowed: amount(waiting),
      ...{ trusted, outlawed },
    };
  }

  /** Of the newest job unless one is named. Throws `not_found`. */
  async decisions(job: Cid | undefined, page: Page): Promise<DecisionList> {
    const { id, rows, next } = await this.#published(job, page);
    return { job: id, decisions: rows.map(decisionOf), next };
  }

  /** Of the newest job unless one is named. Throws `not_found`. */
  async deltas(job: Cid | undefined, page: Page): Promise<DeltaList> {
    const { id, rows, next } = await this.#published(job, page, 'train');
    return { job: id, deltas: rows.flatMap(deltaOf), next };
  }

  async #published(job: Cid | undefined, { limit, cursor }: Page, kind?: Place['kind']) {
    const { storage } = this.#ports;
    const jobs = await storage.jobs();
    const record = job === undefined ? jobs[0] : jobs.find((each) => each.id === job);
    if (!record && job !== undefined) throw new AtollError('not_found', 'There is no such job.');
    if (!record) return { id: null, rows: [], next: null };
    const place = readCursor(placeCursor, cursor);
    const after = place && { round: place[0], kind: place[1], lane: place[2] };
    const units = await storage.records.published(record.id, {
      ...(kind === undefined ? {} : { kind }),
      ...(after === undefined ? {} : { after }),
      most: limit + 1,
    });
    return { id: record.id, ...pageOf(units, limit, (unit) => [unit.round, unit.kind, unit.lane]) };
  }

  /** How a unit was decided; nothing but its name before it is published. Throws `not_found`. */
  async consensus(cid: Cid): Promise<Consensus> {
    const { storage } = this.#ports;
    const unit = await storage.records.publishedUnit(cid);
    if (unit) return consensusOf(unit);
    if (!(await storage.unit(cid))) throw new AtollError('not_found', 'There is no such unit.');
    return { unit: cid, published: false, decision: null, tally: [], steps: [] };
  }

  /** Sealed transfers as far as none names a result that is not published; its tip is the last of them. */
  async ledger(after: number, most: number): Promise<LedgerPage> {
    const { ledger } = this.#ports.storage;
    const tip = await this.#publicTip();
    const transfers =
      after < tip.seq ? await ledger.transfersAfter(after, Math.min(most, tip.seq - after)) : [];
    return { transfers: transfers.map(shownTransfer), tip };
  }

  async #publicTip(): Promise<LedgerPage['tip']> {
    const { ledger, records } = this.#ports.storage;
    // The tip first: what is sealed after it is not looked at.
    const { seq, hash } = await ledger.tip();
    const hidden = await records.firstUnpublished();
    if (hidden === null || hidden > seq) return { seq, hash };
    const [last] = hidden > 1 ? await ledger.transfersAfter(hidden - 2, 1) : [];
    return last ? { seq: last.seq, hash: last.hash } : { seq: firstTip.seq, hash: firstTip.hash };
  }

  /** What of a job's model is whose, by address, as of the ledger that is shown. */
  async shares(job: Cid, { limit, cursor }: Page): Promise<{ shares: ShareInfo[]; next: string | null }> {
    const { ledger } = this.#ports.storage;
    const after = readCursor(addressCursor, cursor)?.[0];
    const page = { ...(after === undefined ? {} : { after }), most: limit + 1 };
    const shares = await ledger.sharesOf(job, page);
    const hidden = await this.#hiddenShares(job);
    const { rows, next } = pageOf(shares, limit, (share) => [share.contributor]);
    const shown = rows.map((share) => ({
      contributor: share.contributor,
      amount: amount(share.amount - (hidden.get(share.contributor) ?? 0n)),
    }));
    return { shares: shown, next };
  }

  async #hiddenShares(job: Cid): Promise<Map<Hex, bigint>> {
    const { ledger } = this.#ports.storage;
    const sums = new Map<Hex, bigint>();
    let { seq } = await this.#publicTip();
    for (;;) {
      const transfers = await ledger.transfersAfter(seq, hiddenMax);
      for (const change of shareChanges(transfers)) {
        if (change.job !== job) continue;
        sums.set(change.contributor, (sums.get(change.contributor) ?? 0n) + change.amount);
      }
      if (transfers.length < hiddenMax) return sums;
      seq = transfers.at(-1)?.seq ?? seq;
    }
  }

  /** Adds up all rounds of all jobs, so it is made for all who ask within two seconds. */
  figures(): Promise<Figures> {
    const now = this.#ports.clock.now();
    if (!this.#figures || now - this.#figures.at > figuresMs) {
      this.#figures = { at: now, made: this.#addUp() };
    }
    return this.#figures.made;
  }

  async #addUp(): Promise<Figures> {
    const { storage, directory, events, queries } = this.#ports;
    const jobs = await storage.jobs();
    const running = new Set((await queries.running()).map((job) => job.id));
    const figures: Figures = {
      ...{ contributorsOnline: directory.online, eventStreams: events.listeners },
      ...{ jobs: jobs.length, jobsRunning: running.size, rounds: 0 },
      ...{ unitsAccepted: 0, unitsSplit: 0, replicasUsed: 0, replicasPerUnit: null },
      ...{ tokens: 0, tokensPerSecond: 0 },
    };
    for (const { id } of jobs) {
      const rounds = await storage.rounds(id);
      for (const { summary } of rounds) {
        figures.rounds++;
        figures.unitsAccepted += summary.unitsAccepted;
        figures.unitsSplit += summary.unitsSplit;
        figures.replicasUsed += summary.replicasUsed;
        figures.tokens += summary.tokens;
      }
      if (running.has(id)) figures.tokensPerSecond += rounds.at(-1)?.summary.tokensPerSecond ?? 0;
    }
    const { unitsAccepted, replicasUsed } = figures;
    return { ...figures, replicasPerUnit: unitsAccepted > 0 ? replicasUsed / unitsAccepted : null };
  }
}

const amount = (value: bigint): string => String(value > 0n ? value : 0n);
const time = (ms: number): string => new Date(ms).toISOString();

function decisionOf(unit: PublishedUnit): DecisionList['decisions'][number] {
  const { job, round, kind, lane, program, operations, digest, reason, attempt, splits, quorum } = unit;
  return {
    ...{ unit: unit.unit, job, round, kind, lane, program, operations, digest, reason },
    ...{ attempt, splits, quorum, replicas: unit.replicas.length, overturned: unit.overturned },
    plannedAt: time(unit.plannedAt),
    acceptedAt: unit.acceptedAt === null ? null : time(unit.acceptedAt),
  };
}

function deltaOf(unit: PublishedUnit): DeltaList['deltas'] {
  const { job, round, lane, operations, overturned } = unit;
  const outputs = unit.result ? decodeResult(unit.result).outputs : {};
  const update = outputs['update'];
  if (update === undefined) return [];
  const agreed = unit.replicas.filter((replica) => replica.state === 'agreed');
  return [
    {
      ...{ job, round, lane, unit: unit.unit, update, operations, overturned },
      losses: outputs['losses'] ?? null,
      contributors: [...new Set(agreed.map((replica) => replica.contributor))],
      acceptedAt: unit.acceptedAt === null ? null : time(unit.acceptedAt),
    },
  ];
}

function consensusOf(unit: PublishedUnit): Consensus {
  const current = unit.replicas.filter(
    (replica) => replica.attempt === unit.attempt && replica.digest !== null,
  );
  const tally = [...Map.groupBy(current, (replica) => replica.digest as Cid)].map(([digest, replicas]) => ({
    digest,
    contributors: replicas.map((replica) => replica.contributor),
    weight: replicas.reduce((sum, replica) => sum + replica.weight, 0),
  }));
  const steps = unit.replicas.flatMap(stepsOf).toSorted((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return { unit: unit.unit, published: true, decision: decisionOf(unit), tally, steps };
}

function stepsOf(replica: PublishedReplica): Consensus['steps'] {
  const { attempt, purpose, contributor, owner, weight, state, digest, leasedAt, settledAt } = replica;
  const of = { attempt, purpose, contributor, owner, weight };
  const leased = { ...of, at: time(leasedAt), step: 'leased' as const, digest: null, credit: '0' };
  if (settledAt === null || state === 'leased' || state === 'committed' || state === 'revealed')
    return [leased];
  return [leased, { ...of, at: time(settledAt), step: state, digest, credit: String(replica.credit) }];
}
