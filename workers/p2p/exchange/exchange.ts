/**
 * The shard exchange as a state machine: `handle(now, event)` returns the effects. It decides what is asked of which peer or of the origin, who is served,
 * and who is dropped; it never sees a socket, a store or a clock. Only blocks that it was told to hold, or fetched itself, are ever announced or served.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { hasBit, makeBits } from './bits.ts';
import { Choker } from './choker.ts';
import { Core, isOpen } from './core.ts';
import { Downloads } from './downloads.ts';
import type { Effect, ExchangeEvent, ExchangeOptions, ExchangeStats, Manifest } from './events.ts';
import type { Block, FileEntry } from './files.ts';
import { type Link, makeLink } from './links.ts';
import { OriginDesk } from './origin-desk.ts';
import { Uploads } from './uploads.ts';

/** While something is under way the machine wants to be called so often. */
const busyTickMs = 100;
/** A turn that comes so much later than it was wanted: the thread computed, or the machine slept. A hidden page has a turn a second. */
const absentMs = 2_000;
/** Names that a peer asked in vain about and that are remembered for it. */
const asksAfterMax = 256;

type FrameOf<T extends ShardFrame['t']> = Extract<ShardFrame, { t: T }>;

export class Exchange {
  readonly #core: Core;
  readonly #downloads: Downloads;
  readonly #uploads: Uploads;
  readonly #choker: Choker;
  readonly #origin: OriginDesk;
  #wakeAt = Infinity;
  #lastAt = 0;
  /** Time in which this side did not get its turn. It counts for nothing: what peers sent meanwhile waits to be heard. */
  #absentMs = 0;

  constructor(options: ExchangeOptions, now: number) {
    this.#core = new Core(options, now);
    this.#choker = new Choker(this.#core, () => this.#uploads);
    this.#uploads = new Uploads(this.#core, this.#choker);
    this.#downloads = new Downloads(this.#core, (block) => this.#keep(block, null));
    this.#origin = new OriginDesk(
      this.#core,
      (block) => this.#keep(block, null),
      (block, outcome) => this.#giveUp(block, outcome),
    );
    this.#core.onUnlink = (link) => this.#unlinked(link);
  }

  /** What is to be done about `event`, in order. `now` in milliseconds, never going back. */
  handle(now: number, event: ExchangeEvent): Effect[] {
    const core = this.#core;
    // A tick that was due before anything was under way is not missed.
    const dueAt = Math.max(this.#wakeAt, this.#lastAt);
    if (now - dueAt > absentMs) this.#absentMs += now - dueAt;
    this.#lastAt = now;
    core.now = now - this.#absentMs;
    core.effects = [];
    this.#dispatch(event);
    for (const link of core.links.values()) core.tellNeeds(link);
    this.#wakeAt = this.#dueAt() + this.#absentMs;
    return core.effects;
  }

  /** When `tick` is due at the latest; `Infinity` while there is nothing to wait for. */
  get wakeAt(): number {
    return this.#wakeAt;
  }

  #dueAt(): number {
    const { links, files, now } = this.#core;
    if (files.open.length > 0 || this.#uploads.isQueued) return now + busyTickMs;
    return links.size > 0 ? this.#choker.nextAt : Infinity;
  }

  #dispatch(event: ExchangeEvent): void {
    switch (event.t) {
      case 'frame':
        return this.#withLink(event.link, (link) => this.#frame(link, event.frame));
      case 'room':
        return this.#withLink(event.link, (link) => this.#uploads.room(link));
      case 'checked':
        return this.#downloads.checked(event.download, event.ok);
      case 'opened':
        return this.#withBlock(event.cid, (block) => this.#uploads.opened(block, event.size));
      case 'origin':
        return this.#withBlock(event.cid, (block) => this.#origin.answered(block, event));
      case 'arriving':
        return this.#withBlock(event.cid, (block) => this.#origin.arriving(block));
      case 'tick':
        return this.#tick();
      case 'want':
        return this.#want(event.file, event.indices, event.urgent ?? false);
      case 'hold':
        return this.#hold(event.file, event.indices);
      case 'unwant':
        return event.cids.forEach((cid) => this.#withBlock(cid, (block) => this.#unwant(block)));
      case 'gone':
        return event.cids.forEach((cid) => this.#withBlock(cid, (block) => this.#gone(block)));
      default:
        return this.#linkEvent(event);
    }
  }

  #linkEvent(event: Extract<ExchangeEvent, { t: 'link' | 'unlink' | 'garbage' | 'expect' }>): void {
    if (event.t === 'expect') return this.#origin.expect(event.ms);
    if (event.t === 'link') return this.#linked(makeLink(event.link, event.contributor, this.#core.now));
    if (event.t === 'unlink') return this.#withLink(event.link, (link) => this.#core.unlink(link));
    return this.#withLink(event.link, (link) => this.#core.offend(link, 'bad-frame'));
  }

  #withLink(id: number, run: (link: Link) => void): void {
    const link = this.#core.links.get(id);
    if (link) run(link);
  }

  #withBlock(cid: Cid, run: (block: Block) => void): void {
    const block = this.#core.files.blocks.get(cid);
    if (block) run(block);
  }

  #tick(): void {
    this.#downloads.tick();
    this.#uploads.tick();
    this.#choker.tick();
    this.#origin.tick();
  }

  #linked(link: Link): void {
    const core = this.#core;
    const { contributor } = link;
    core.links.set(link.id, link);
    if (contributor && core.banned.has(contributor)) return core.drop(link, 'banned', true);
    // One link a contributor: the newer one, since a page that was loaded anew has left the older.
    for (const other of core.links.values()) {
      const isSame = other !== link && contributor !== null && other.contributor === contributor;
      if (isSame) core.drop(other, 'replaced', false);
    }
    this.#origin.linked();
    for (const file of core.files.files.values()) core.introduce(link, file);
  }

  #unlinked(link: Link): void {
    this.#downloads.unlinked(link);
    this.#uploads.unlinked(link);
    this.#origin.unlinked(link);
    this.#downloads.pumpAll();
    this.#origin.look();
  }

  /** A block by itself that neighbours have as a part of something else needs no name of its own. */
  #isKnownAlone({ id, blocks }: Manifest): Block | undefined {
    const block = blocks.length === 1 && blocks[0] === id ? this.#core.files.blocks.get(id) : undefined;
    return block && block.places.length > 0 && (block.held || block.available > 0) ? block : undefined;
  }

  #introduce(file: FileEntry): void {
    for (const link of this.#core.links.values()) this.#core.introduce(link, file);
  }

  /** Who did not know the file is asked once more when it is wanted anew: it may have been published since. */
  #askAgain(file: FileEntry): void {
    for (const link of this.#core.links.values()) {
      if (!link.has.has(file) && !file.unanswered.has(link)) this.#core.introduce(link, file);
    }
  }

  #want(manifest: Manifest, indices: readonly number[] | undefined, urgent: boolean): void {
    const alone = this.#isKnownAlone(manifest);
    if (alone) this.#wantBlock(alone, urgent);
    else {
      const { file, isNew } = this.#core.files.learn(manifest);
      if (isNew) this.#introduce(file);
      else this.#askAgain(file);
      for (const index of indices ?? manifest.blocks.keys()) {
        const block = file.blocks[index];
        if (block) this.#wantBlock(block, urgent);
      }
    }
    this.#downloads.pumpAll();
    this.#origin.look();
  }

  #wantBlock(block: Block, urgent: boolean): void {
    if (block.held) return;
    const isNews = !block.wanted || (urgent && !block.urgent);
    if (isNews) block.waitingSince = this.#core.now;
    if (urgent) block.urgent = true;
    if (block.wanted) return;
    block.wanted = true;
    this.#core.open(block);
  }

  #unwant(block: Block): void {
    if (!isOpen(block)) return;
    this.#core.close(block);
    block.wanted = false;
    block.urgent = false;
    this.#downloads.cancel(block);
  }

  #giveUp(block: Block, outcome: 'missing' | 'failed'): void {
    this.#unwant(block);
    this.#core.emit({ t: 'lost', cid: block.cid, outcome });
  }

  /** Before the file is known to anybody, what is here of it: one bitmap tells all. */
  #hold(manifest: Manifest, indices: readonly number[] | undefined): void {
    const { files } = this.#core;
    const [first] = manifest.blocks;
    if (first === manifest.id && !files.files.has(first)) {
      return this.#keep(files.alone(first, manifest.sizes[0] ?? 0), null);
    }
    const { file, isNew } = files.learn(manifest);
    for (const index of indices ?? manifest.blocks.keys()) {
      const block = file.blocks[index];
      if (!block || block.held) continue;
      this.#keep(block, isNew ? file : null);
    }
    if (isNew) this.#introduce(file);
  }

  /** The block is here, verified and public. `untold`: a file that nobody has been told of yet. */
  #keep(block: Block, untold: FileEntry | null): void {
    if (block.held) return;
    if (isOpen(block)) this.#core.close(block);
    block.held = true;
    block.urgent = false;
    this.#downloads.cancel(block);
    if (!untold || block.places.length > 1) this.#core.tell(block, 'have');
    this.#answerLate(block);
  }

  #gone(block: Block): void {
    if (!block.held) return;
    block.held = false;
    block.wanted = false;
    this.#uploads.withdraw(block);
    this.#core.tell(block, 'gone');
    this.#core.files.released(block);
  }

  #frame(link: Link, frame: ShardFrame): void {
    if (frame.t === 'blk') return this.#downloads.part(link, frame);
    const cost =
      frame.t === 'bits' ? 1 + frame.count / 256 : 'indices' in frame ? 1 + frame.indices.length / 64 : 1;
    const isFlood = !link.frames.take(cost, this.#core.now);
    if (isFlood && this.#core.options.defences.flood) return this.#core.offend(link, 'flood');
    switch (frame.t) {
      case 'bits':
        return this.#bits(link, frame);
      case 'have':
      case 'pend':
      case 'gone':
        return this.#indices(link, frame);
      case 'req':
        return this.#uploads.request(link, frame);
      case 'no':
        return this.#no(link, frame);
      case 'cancel':
        return this.#cancel(link, frame);
      default:
        return this.#mood(link, frame);
    }
  }

  #mood(link: Link, frame: FrameOf<'choke' | 'unchoke' | 'need'>): void {
    if (frame.t === 'need') {
      link.needsUs = frame.needs;
      return this.#choker.welcome(link);
    }
    link.chokesUs = frame.t === 'choke';
    if (!link.chokesUs) this.#downloads.pump(link);
  }

  #bits(link: Link, frame: FrameOf<'bits'>): void {
    const core = this.#core;
    const file = this.#fileOf(frame);
    if (!file) {
      if (frame.ask) this.#unknown(link, frame.file);
      return;
    }
    const count = file.blocks.length;
    if (count !== frame.count) return core.offend(link, 'bad-frame', file.id);
    if (!link.has.has(file)) link.has.set(file, makeBits(count));
    for (let index = 0; index < count; index++) {
      if (hasBit(frame.bits, index)) core.gain(link, file, index);
      else core.lose(link, file, index);
    }
    file.unanswered.delete(link);
    if (frame.ask) core.sayBits(link, file, false);
    this.#downloads.pump(link);
    this.#origin.look();
  }

  #unknown(link: Link, id: Cid): void {
    link.asksAfter.delete(id);
    link.asksAfter.add(id);
    for (const oldest of link.asksAfter) {
      if (link.asksAfter.size <= asksAfterMax) break;
      link.asksAfter.delete(oldest);
    }
    this.#core.send(link, { t: 'no', file: id, index: 0, reason: 'unknown' });
  }

  /** Outputs are published after others began to look for them: who asked for one by its name is told now. */
  #answerLate(block: Block): void {
    const { files, links } = this.#core;
    for (const link of links.values()) {
      if (!link.asksAfter.delete(block.cid)) continue;
      if (!files.files.has(block.cid) && !files.hasRoom) continue;
      const { file } = files.learn({ id: block.cid, blocks: [block.cid], sizes: [block.size] });
      if (!link.has.has(file)) this.#core.introduce(link, file);
    }
  }

  /** A block that is known here from another file may be asked about by itself. */
  #fileOf({ file, count }: FrameOf<'bits'>): FileEntry | undefined {
    const { files } = this.#core;
    const block = count === 1 && !files.files.has(file) ? files.blocks.get(file) : undefined;
    if (!block || !files.hasRoom) return files.files.get(file);
    return files.learn({ id: file, blocks: [file], sizes: [block.size] }).file;
  }

  #indices(link: Link, { t, file: id, indices }: FrameOf<'have' | 'pend' | 'gone'>): void {
    const file = this.#core.files.files.get(id);
    // Word of a fetch goes before the first bitmap, so that nobody fetches the same in between.
    if (!file || (t !== 'pend' && !link.has.has(file))) return;
    let isNews = false;
    for (const index of indices) {
      const block = file.blocks[index];
      if (!block) return this.#core.offend(link, 'bad-frame', id);
      if (t === 'gone') this.#core.lose(link, file, index);
      else if (t === 'pend') this.#origin.pend(link, block);
      else {
        this.#core.gain(link, file, index);
        this.#origin.kept(link, block);
        isNews ||= isOpen(block) && block.downloads.length === 0;
      }
    }
    if (isNews && !link.chokesUs) this.#downloads.pump(link);
  }

  #no(link: Link, { file: id, index, reason }: FrameOf<'no'>): void {
    const block = this.#core.files.find(id, index);
    const file = this.#core.files.files.get(id);
    const wasAsked = file?.unanswered.delete(link) ?? false;
    if (block) this.#downloads.refused(link, block, reason === 'unknown');
    if (wasAsked) this.#origin.look();
    if (this.#core.links.get(link.id) === link) this.#downloads.pumpAll();
  }

  #cancel(link: Link, frame: FrameOf<'cancel'>): void {
    const block = this.#core.files.find(frame.file, frame.index);
    if (block) this.#uploads.cancel(link, block);
  }

  /** Whether the block is here and served. */
  isHeld(cid: Cid): boolean {
    return this.#core.files.blocks.get(cid)?.held ?? false;
  }

  /** How many blocks are wanted and not here. */
  get missing(): number {
    return this.#core.files.open.length;
  }

  stats(): ExchangeStats {
    const { upBytes, downBytes, blocksDown, blocksRefused, originBytes, originBlocks } = this.#core;
    const peers = [...this.#core.links.values()].map((link) => ({
      link: link.id,
      contributor: link.contributor,
      servesUs: !link.chokesUs,
      isServed: !link.isChoked,
      upBytes: link.gaveBytes,
      downBytes: link.gotBytes,
      blocksDown: link.blocksDown,
      blocksRefused: link.blocksRefused,
    }));
    const missing = this.#core.files.open.length;
    return { upBytes, downBytes, blocksDown, blocksRefused, originBytes, originBlocks, missing, peers };
  }
}
