/**
 * Who is served: tit for tat. Most places go to those who gave most lately; one goes by lot, newcomers first; whoever took its grace and gives nothing
 * although it has something (or hides what it has) gets what is left when nobody else wants anything.
 *
 * Source: B. Cohen, Incentives Build Robustness in BitTorrent (2003); the grace and the receipts are ours.
 */
import type { Core } from './core.ts';
import type { Link } from './links.ts';
import type { Uploads } from './uploads.ts';

/** What one place of an uplink should carry at least, in bytes a second. */
const slotBytesPerSecond = 150_000;
/** What is remembered of the rate before, and of what was not returned, at each look. */
const rateKept = 0.6;
const unrequitedKept = 0.995;
/** A block that was given whole is announced by then, or counts as kept secret. */
const announceMsMax = 10_000;
/** A newcomer's chance in the lot against another's. */
const newcomerWeight = 3;

export class Choker {
  readonly #core: Core;
  /** Set by the machine: choking drops what is queued. */
  readonly #uploads: () => Uploads;
  #lookedAt: number;
  #rateOut = 0;
  #extraSlots = 0;
  /** When somebody who gives wanted something last. */
  #wantedAt: number;

  constructor(core: Core, uploads: () => Uploads) {
    this.#core = core;
    this.#uploads = uploads;
    this.#lookedAt = core.now;
    this.#wantedAt = core.now;
  }

  get nextAt(): number {
    return this.#lookedAt + this.#core.options.rechokeMs;
  }

  isLeech(link: Link): boolean {
    const { defences, graceBytes } = this.#core.options;
    return defences.titForTat && (link.unrequited > graceBytes || link.unannouncedBytes > graceBytes);
  }

  /** Bytes a second, lately. */
  get rateOut(): number {
    return this.#rateOut;
  }

  get #slots(): number {
    const { slotsMin, slotsMax } = this.#core.options;
    const start = (slotsMin + slotsMax) >> 2;
    const carried = Math.ceil(this.#rateOut / slotBytesPerSecond);
    const base = this.#rateOut === 0 ? start : Math.max(slotsMin, carried);
    return Math.min(slotsMax, base + this.#extraSlots);
  }

  /** A peer that begins to want something need not wait for the next look while places are free. */
  welcome(link: Link): void {
    if (!link.isChoked || !link.needsUs || this.isLeech(link)) return;
    let served = 0;
    for (const each of this.#core.links.values()) if (!each.isChoked && each.needsUs) served++;
    if (served < this.#slots) this.#set(link, true);
  }

  tick(): void {
    if (this.#core.now >= this.nextAt) this.#look();
  }

  #look(): void {
    this.#measure();
    const links = [...this.#core.links.values()];
    const served = this.#choose(links.filter((link) => link.needsUs));
    for (const link of links) {
      if (!link.needsUs && !link.isChoked && !this.isLeech(link) && served.size < this.#slots) continue;
      this.#set(link, served.has(link));
    }
  }

  #measure(): void {
    const seconds = (this.#core.now - this.#lookedAt) / 1000;
    this.#lookedAt = this.#core.now;
    let out = 0;
    for (const link of this.#core.links.values()) {
      link.rateIn = rateKept * link.rateIn + ((1 - rateKept) * link.recentIn) / seconds;
      link.rateOut = rateKept * link.rateOut + ((1 - rateKept) * link.recentOut) / seconds;
      out += link.recentOut / seconds;
      link.recentIn = 0;
      link.recentOut = 0;
      link.unrequited *= unrequitedKept;
      link.unannouncedBytes = 0;
      for (const { size, at } of link.unannounced.values()) {
        if (this.#core.now - at > announceMsMax) link.unannouncedBytes += size;
      }
    }
    // Room that nobody used: one more may try, and stays while that brings more out.
    const uploads = this.#uploads();
    const isWorth = this.#extraSlots === 0 || out > 1.05 * this.#rateOut;
    this.#extraSlots =
      uploads.wasIdle && isWorth ? Math.min(this.#extraSlots + 1, 4) : Math.max(0, this.#extraSlots - 1);
    this.#rateOut = Math.max(rateKept * this.#rateOut, out);
    uploads.wasIdle = false;
  }

  #choose(needy: readonly Link[]): Set<Link> {
    const fair = needy.filter((link) => !this.isLeech(link));
    if (fair.length > 0) this.#wantedAt = this.#core.now;
    // Nobody else has wanted anything for a while: the rest is for those who only take.
    const isLeft = this.#core.now - this.#wantedAt > this.#core.options.leftoverMs;
    if (fair.length === 0) return new Set(isLeft ? needy.slice(0, this.#slots) : []);
    const slots = this.#slots;
    const { random, defences } = this.#core.options;
    const seeks = this.#core.files.open.length > 0;
    const score = (link: Link) =>
      !defences.titForTat ? random() : seeks ? link.rateIn : link.gotBytes - link.gaveBytes;
    const ranked = fair
      .map((link) => ({ link, score: score(link), tie: random() }))
      .sort((a, b) => b.score - a.score || a.tie - b.tie)
      .map(({ link }) => link);
    const served = new Set(ranked.slice(0, Math.max(1, slots - 1)));
    const lot = ranked.filter((link) => !served.has(link));
    const lucky = lot.find((link) => link.optimisticUntil > this.#core.now) ?? this.#draw(lot);
    if (lucky) served.add(lucky);
    return served;
  }

  #draw(lot: readonly Link[]): Link | undefined {
    const { random, graceBytes, optimisticMs } = this.#core.options;
    const weight = (link: Link) => (link.gaveBytes < graceBytes ? newcomerWeight : 1);
    let left = random() * lot.reduce((sum, link) => sum + weight(link), 0);
    for (const link of lot) {
      left -= weight(link);
      if (left >= 0) continue;
      link.optimisticUntil = this.#core.now + optimisticMs;
      return link;
    }
    return undefined;
  }

  #set(link: Link, serve: boolean): void {
    if (link.isChoked === !serve) return;
    link.isChoked = !serve;
    this.#core.send(link, { t: serve ? 'unchoke' : 'choke' });
    if (!serve) this.#uploads().choke(link);
  }
}
