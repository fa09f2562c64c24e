/**
 * Brings the roots of closed rounds to the chain, in order, in the background. A chain that is down delays nothing else: rounds wait in the
 * database and are tried again.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { codeOf, toProblem } from '#protocol/errors.ts';
import type { RoundSummary } from '#protocol/http/api.ts';
import type { Anchor, AnchorReceipt, RoundToAnchor } from '../anchor/port.ts';
import type { RoundRecord, Storage } from '../storage/port.ts';
import { pause } from './pause.ts';
import type { Logger } from './ports.ts';

export interface AnchoringPorts {
  storage: Storage;
  anchor: Anchor;
  log: Logger;
  /** Whether this process is the one that anchors; the others leave it alone. */
  leads: () => Promise<boolean>;
  onAnchor: (job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>) => void;
}

const retryMsMin = 500;
const retryMsMax = 30_000;

export class Anchoring {
  readonly #ports: AnchoringPorts;
  readonly #stop = new AbortController();
  readonly #jobs = new Set<Cid>();
  readonly #reconciled = new Set<Cid>();
  #running: Promise<void> = Promise.resolve();
  #active = false;
  #again = false;

  constructor(ports: AnchoringPorts) {
    this.#ports = ports;
  }

  /** A job has, or may have, rounds that are not anchored. */
  wake(job: Cid): void {
    this.#jobs.add(job);
    this.#again = true;
    if (this.#stop.signal.aborted) return;
    if (!this.#active) this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#active = true;
    let failures = 0;
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      try {
        if (await this.#ports.leads()) for (const job of this.#jobs) await this.#anchorJob(job);
        failures = 0;
      } catch (error) {
        if (this.#stop.signal.aborted) break;
        this.#ports.log.warn({ problem: toProblem(error) }, 'A round could not be anchored; trying again.');
        this.#again = true;
        await pause(Math.min(retryMsMax, retryMsMin * 2 ** Math.min(16, failures++)), this.#stop.signal);
      }
    }
    // In the same turn as the last look at `#again`, so that no wake falls between.
    this.#active = false;
  }

  /** A chain may have lost its last seconds, or be another one: the first look at a job, and any conflict, goes over all rounds. */
  async #anchorJob(job: Cid): Promise<void> {
    const rounds = await this.#ports.storage.rounds(job);
    if (rounds.length === 0) return;
    if (!this.#reconciled.has(job)) return this.#reconcile(job, rounds);
    try {
      for (const record of rounds) if (record.summary.anchor === null) await this.#anchorRound(record);
    } catch (error) {
      if (codeOf(error) === 'conflict') this.#reconciled.delete(job);
      throw error;
    }
  }

  async #reconcile(job: Cid, records: readonly RoundRecord[]): Promise<void> {
    const receipts = await this.#ports.anchor.reconcile(records.map(toAnchor), this.#stop.signal);
    const byRound = new Map(receipts.map((receipt) => [receipt.round, receipt]));
    for (const record of records) {
      const receipt = byRound.get(record.round);
      if (receipt && receipt.tx !== record.summary.anchor?.tx) await this.#note(record, receipt);
    }
    this.#reconciled.add(job);
  }

  async #anchorRound(record: RoundRecord): Promise<void> {
    const receipt = await this.#ports.anchor.anchorRound(toAnchor(record), this.#stop.signal);
    await this.#note(record, receipt);
  }

  async #note({ job, round, root }: RoundRecord, { tx, blockNumber }: AnchorReceipt): Promise<void> {
    await this.#ports.storage.anchorRound(job, round, tx, blockNumber);
    this.#ports.onAnchor(job, round, { root, tx, blockNumber });
  }
}

function toAnchor({ job, round, root, checkpoint }: RoundRecord): RoundToAnchor {
  return { job, round, root, checkpoint };
}
