/**
 * What is asked of the origin: blocks that no neighbour has or is fetching, a few at a time. Neighbours are told, so that they wait; a neighbour's word
 * counts for `shardPendMsMax`, may be given again while bytes arrive there, and counts not at all once it was broken a few times. While peers bring anything of a
 * block's file, however slowly, its turn comes; when they bring nothing of it, the origin is asked whatever they say.
 */
import { limits } from '#protocol/limits.ts';
import type { Core } from './core.ts';
import type { Block } from './files.ts';
import type { Link } from './links.ts';

const retryMsMin = 400;
const retryMsMax = 5_000;
const brokenPendsMax = 3;
/** While the origin sends a block, neighbours are told again so often, and believe it for so long in all. */
const pendAgainMs = 2_000;
const pendMsInAllMax = brokenPendsMax * limits.shardPendMsMax;
/** Failures of the origin after which a block that no peer has is given up. */
const triesMax = 3;
/** Parts that came so lately mean that peers deliver. */
const fedMs = 2_000;
/** Where answers take long anyway, silence means less: the patience for urgent blocks is so many answers long, up to the second figure. */
const patienceAnswers = 2;
const patienceUrgentMsMax = 4_000;

export type OriginOutcome =
  { outcome: 'ok'; size: number } | { outcome: 'busy'; retryMs: number } | { outcome: 'missing' | 'failed' };

export class OriginDesk {
  readonly #core: Core;
  readonly #onHeld: (block: Block) => void;
  readonly #giveUp: (block: Block, outcome: 'missing' | 'failed') => void;
  #atOrigin = 0;
  /** Links are being made until then. */
  #expectUntil = 0;
  #busyInARow = 0;
  #pausedUntil = 0;

  constructor(
    core: Core,
    onHeld: (block: Block) => void,
    giveUp: (block: Block, outcome: 'missing' | 'failed') => void,
  ) {
    this.#core = core;
    this.#onHeld = onHeld;
    this.#giveUp = giveUp;
  }

  expect(ms: number): void {
    this.#expectUntil = this.#core.now + ms;
  }

  /** The first link is here: it says itself what it has. */
  linked(): void {
    this.#expectUntil = 0;
  }

  /** Asks for as much as may be asked for now. */
  look(): void {
    const { now, options } = this.#core;
    if (now < this.#pausedUntil) return;
    while (this.#atOrigin < options.originsMax) {
      const block = this.#choose();
      if (!block) return;
      this.#atOrigin++;
      block.atOrigin = true;
      block.originAt = now;
      this.#pend(block);
      this.#core.emit({ t: 'origin', cid: block.cid });
    }
  }

  #pend(block: Block): void {
    block.pendedAt = this.#core.now;
    this.#core.tell(block, 'pend');
  }

  /** Bytes of it are coming from the origin: however long it takes, it comes. */
  arriving(block: Block): void {
    if (block.atOrigin && this.#core.now - block.pendedAt >= pendAgainMs) this.#pend(block);
  }

  #choose(): Block | undefined {
    const { random } = this.#core.options;
    let best: Block | undefined;
    let ties = 0;
    for (const block of this.#core.files.open) {
      if (best?.urgent && !block.urgent) continue;
      if (!this.#isDue(block)) continue;
      ties = block.urgent && !best?.urgent ? 1 : ties + 1;
      if (ties === 1 || random() * ties < 1) best = block;
    }
    return best;
  }

  #isDue(block: Block): boolean {
    const { now, options, links, lastPartAt, answerMs } = this.#core;
    if (block.atOrigin || block.checking || block.originAfter > now) return false;
    const isSilent = block.downloads.every((each) => now - each.progressAt > 2 * options.hedgeMs);
    if (!isSilent) return false;
    if (block.downloads.length > 0 && !block.urgent) return false;
    if (block.available === 0) {
      // With many neighbours the block is somewhere in the swarm and on its way; the origin is for when nothing comes.
      const isFed = links.size >= options.crowdLinks && now - lastPartAt < fedMs;
      if (isFed && !block.urgent) return false;
      return block.pendUntil <= now && this.#expectUntil <= now && !this.#isAsked(block);
    }
    if (!block.urgent) return now - Math.max(block.waitingSince, lastPartAt) > options.patienceMs;
    const wantedMs = Math.min(patienceUrgentMsMax, patienceAnswers * answerMs);
    return now - fedAt(block) > Math.max(options.patienceUrgentMs, wantedMs);
  }

  /** Some link has not yet said what it has of the block's files. */
  #isAsked(block: Block): boolean {
    for (const { file } of block.places) {
      for (const [link, until] of file.unanswered) {
        if (until > this.#core.now) return true;
        file.unanswered.delete(link);
      }
    }
    return false;
  }

  answered(block: Block, answer: OriginOutcome): void {
    const { now, options } = this.#core;
    if (!block.atOrigin) return;
    block.atOrigin = false;
    this.#atOrigin--;
    if (answer.outcome === 'ok') {
      this.#busyInARow = 0;
      block.originBusy = 0;
      this.#core.originBytes += answer.size;
      this.#core.originBlocks++;
      block.size = answer.size;
      this.#onHeld(block);
    } else if (answer.outcome === 'busy') {
      // Somebody else fetches it; others may be free, but a crowd must not hammer the origin.
      this.#busyInARow++;
      const spread = 0.5 + options.random();
      // A block that a unit waits for is asked for as often as the origin said.
      const slowdown = block.urgent ? 1 : Math.min(8, ++block.originBusy);
      const waitMs = Math.max(retryMsMin, answer.retryMs) * slowdown;
      block.originAfter = now + Math.min(retryMsMax, waitMs) * spread;
      this.#pausedUntil = now + Math.min(1_600, 25 * 2 ** Math.min(6, this.#busyInARow)) * spread;
    } else this.#failed(block, answer.outcome);
    this.look();
  }

  #failed(block: Block, outcome: 'missing' | 'failed'): void {
    const { now, options } = this.#core;
    block.originTries++;
    block.originBusy = 0;
    const waitMs = Math.min(retryMsMax, retryMsMin * 2 ** block.originTries);
    block.originAfter = now + waitMs * (0.5 + options.random());
    const isHopeless = outcome === 'missing' || block.originTries >= triesMax;
    if (isHopeless && block.available === 0 && block.pendUntil <= now && block.wanted) {
      this.#giveUp(block, outcome);
    }
  }

  /** A neighbour says that it fetches the block. */
  pend(link: Link, block: Block): void {
    const { now, options } = this.#core;
    const isLimited = options.defences.pendLimits;
    if (isLimited && link.brokenPends >= brokenPendsMax) return;
    const known = link.pends.get(block);
    if (isLimited && !known && link.pends.size >= limits.shardPendsMax) return;
    const since = known?.since ?? now;
    const until = Math.min(now + limits.shardPendMsMax, isLimited ? since + pendMsInAllMax : Infinity);
    link.pends.set(block, { since, until });
    block.pendUntil = Math.max(block.pendUntil, until);
  }

  kept(link: Link, block: Block): void {
    if (link.pends.delete(block)) link.brokenPends = Math.max(0, link.brokenPends - 1);
  }

  unlinked(link: Link): void {
    for (const block of link.pends.keys()) block.pendUntil = 0;
    link.pends.clear();
  }

  tick(): void {
    const { now, links } = this.#core;
    for (const link of links.values()) {
      for (const [block, { since, until }] of link.pends) {
        if (until > now) continue;
        link.pends.delete(block);
        // A block that has come another way is nobody's broken word. A word that was given again is broken as often.
        if (!block.held) link.brokenPends += Math.ceil((until - since) / limits.shardPendMsMax);
      }
    }
    this.look();
  }
}

/** When peers last brought anything of a file that the block is in, or when it began to wait. */
function fedAt({ waitingSince, places }: Block): number {
  return places.reduce((latest, { file }) => Math.max(latest, file.progressAt), waitingSince);
}
