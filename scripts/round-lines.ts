/** What `npm start` says: one line a round once it is anchored, and the closing JSON document. */
import type { JobStatus, RoundSummary } from '#protocol/http/api.ts';

/** How long a round's line waits for its anchor. */
const anchorMsMax = 5_000;

/** One readable line. Losses are nats per byte. */
export function roundLine(
  round: RoundSummary,
  status: Pick<JobStatus, 'unigramEntropy' | 'sourceEntropy'>,
): string {
  const { unigramEntropy, sourceEntropy } = status;
  const limit = sourceEntropy === null ? '' : `, limit ${sourceEntropy.toFixed(3)}`;
  const people = round.contributors === 1 ? 'contributor' : 'contributors';
  return [
    `round ${String(round.round).padStart(3)}`,
    `${round.lanes} ${round.lanes === 1 ? 'lane' : 'lanes'}`,
    `loss ${round.loss.toFixed(3)} (letters alone ${unigramEntropy.toFixed(3)}${limit})`,
    `${round.contributors} ${people}`,
    `${Math.round(round.tokensPerSecond)} tokens/s`,
    `units ${round.unitsAccepted} agreed, ${round.unitsSplit} split`,
    round.anchor ? `anchor ${round.anchor.tx.slice(0, 12)}…` : 'not anchored',
  ].join(' | ');
}

/** Holds a round's line back until its anchor is known, but not for long: a chain that is away delays no news. */
export class RoundLines {
  readonly #print: (round: RoundSummary) => void;
  readonly #withChain: boolean;
  readonly #waiting = new Map<number, { round: RoundSummary; timer: NodeJS.Timeout }>();

  constructor(print: (round: RoundSummary) => void, withChain: boolean) {
    this.#print = print;
    this.#withChain = withChain;
  }

  onRound(round: RoundSummary): void {
    if (!this.#withChain) return this.#print(round);
    const timer = setTimeout(() => this.#release(round.round, round), anchorMsMax);
    this.#waiting.set(round.round, { round, timer });
  }

  onAnchor(number: number, anchor: NonNullable<RoundSummary['anchor']>): void {
    const held = this.#waiting.get(number);
    if (held) this.#release(number, { ...held.round, anchor });
  }

  /** Prints what is still held back. */
  close(): void {
    for (const [number, { round }] of [...this.#waiting]) this.#release(number, round);
  }

  #release(number: number, round: RoundSummary): void {
    clearTimeout(this.#waiting.get(number)?.timer);
    this.#waiting.delete(number);
    this.#print(round);
  }
}

export interface Summary {
  rounds: number;
  lossFirst: number | null;
  lossLast: number | null;
  unigramEntropy: number;
  sourceEntropy: number | null;
  unitsAccepted: number;
  replicasUsed: number;
  unitsSplit: number;
  /** Transactions, round 1 first. */
  anchors: string[];
  /** The most that took part in one round. */
  contributors: number;
  job: string;
  checkpoint: string | null;
}

/** The job as a whole, from its first round on, whichever start computed it. */
export function summarise(status: JobStatus): Summary {
  const { rounds } = status;
  return {
    rounds: rounds.length,
    lossFirst: status.lossFirst,
    lossLast: status.lossLast,
    unigramEntropy: status.unigramEntropy,
    sourceEntropy: status.sourceEntropy,
    unitsAccepted: status.unitsAccepted,
    replicasUsed: status.replicasUsed,
    unitsSplit: status.unitsSplit,
    anchors: rounds.flatMap((round) => (round.anchor ? [round.anchor.tx] : [])),
    contributors: Math.max(0, ...rounds.map((round) => round.contributors)),
    job: status.id,
    checkpoint: rounds.at(-1)?.checkpoint ?? status.checkpoint,
  };
}
