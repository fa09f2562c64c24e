/**
 * A made network: every peer has an uplink that takes turns among its links, and a downlink behind it; a link keeps its order. Frames are objects (the codec has
 * its own tests) and count with the bytes that they would have.
 */
import type { ShardFrame } from '#protocol/p2p/frames.ts';
import { sizeOfFrame } from '#protocol/p2p/frames.ts';
import type { Timeline } from '../time.ts';

/** A peer as the network sees it. */
export interface NetPeer {
  /** Bytes a second. */
  readonly up: number;
  readonly down: number;
  readonly latencyMs: number;
  isGone: boolean;
  receive(link: NetLink, frame: ShardFrame): void;
  room(link: NetLink): void;
  unlinked(link: NetLink): void;
}

/** One direction of a link: frames from `from` to `to`. */
export interface NetLink {
  readonly id: number;
  readonly from: NetPeer;
  readonly to: NetPeer;
  other: NetLink;
  queue: ShardFrame[];
  queuedBytes: number;
  wantsRoom: boolean;
  isOpen: boolean;
}

/** Beyond this much in its queue a link asks its sender to wait. */
const bufferBytes = 32 << 10;
/** Length, headers of SCTP, DTLS, UDP and IP in a message. */
const overheadBytes = 60;

interface Uplink {
  isBusy: boolean;
  links: NetLink[];
  turn: number;
  downFreeAt: number;
}

export class Network {
  readonly #time: Timeline;
  readonly #uplinks = new Map<NetPeer, Uplink>();
  #nextId = 1;

  constructor(time: Timeline) {
    this.#time = time;
  }

  /** Both directions: the first is a's. */
  connect(a: NetPeer, b: NetPeer): NetLink {
    const make = (from: NetPeer, to: NetPeer) =>
      ({
        id: this.#nextId++,
        from,
        to,
        queue: [],
        queuedBytes: 0,
        wantsRoom: false,
        isOpen: true,
      }) as unknown as NetLink;
    const [there, back] = [make(a, b), make(b, a)];
    there.other = back;
    back.other = there;
    this.#uplink(a).links.push(there);
    this.#uplink(b).links.push(back);
    return there;
  }

  #uplink(peer: NetPeer): Uplink {
    let uplink = this.#uplinks.get(peer);
    if (!uplink) {
      uplink = { isBusy: false, links: [], turn: 0, downFreeAt: 0 };
      this.#uplinks.set(peer, uplink);
    }
    return uplink;
  }

  /** False asks for a wait until `room`. */
  send(link: NetLink, frame: ShardFrame): boolean {
    if (!link.isOpen) return false;
    link.queue.push(frame);
    link.queuedBytes += sizeOfFrame(frame) + overheadBytes;
    const uplink = this.#uplink(link.from);
    if (!uplink.isBusy) this.#transmit(link.from, uplink);
    const hasRoom = link.queuedBytes <= bufferBytes;
    if (!hasRoom) link.wantsRoom = true;
    return hasRoom;
  }

  /** Everything small at the heads of queues, and one part in turn. */
  #transmit(peer: NetPeer, uplink: Uplink): void {
    let bytes = 0;
    let part = false;
    for (let i = 0; i < uplink.links.length; i++) {
      const at = (uplink.turn + i) % uplink.links.length;
      const link = uplink.links[at] as NetLink;
      if (link.queue.length === 0) continue;
      const sent = this.#take(link, !part);
      if (sent.frames.length === 0) continue;
      if (sent.hasPart) {
        part = true;
        uplink.turn = at + 1;
      }
      bytes += sent.bytes;
      const ms = (1000 * bytes) / peer.up;
      this.#time.after(ms, () => this.#sent(link, sent.frames, sent.bytes));
    }
    if (bytes === 0) return;
    uplink.isBusy = true;
    this.#time.after((1000 * bytes) / peer.up, () => {
      uplink.isBusy = false;
      if (!peer.isGone) this.#transmit(peer, uplink);
    });
  }

  #take(link: NetLink, mayTakePart: boolean): { frames: ShardFrame[]; bytes: number; hasPart: boolean } {
    let [bytes, hasPart, count] = [0, false, 0];
    for (const frame of link.queue) {
      if (frame.t === 'blk' && (hasPart || !mayTakePart)) break;
      if (frame.t === 'blk') hasPart = true;
      bytes += sizeOfFrame(frame) + overheadBytes;
      count++;
    }
    return { frames: link.queue.splice(0, count), bytes, hasPart };
  }

  #sent(link: NetLink, frames: ShardFrame[], bytes: number): void {
    const { from, to } = link;
    link.queuedBytes -= bytes;
    if (from.isGone) return;
    if (link.wantsRoom && link.queuedBytes <= bufferBytes && link.isOpen) {
      link.wantsRoom = false;
      from.room(link);
    }
    const down = this.#uplink(to);
    const at =
      Math.max(this.#time.now + from.latencyMs + to.latencyMs, down.downFreeAt) + (1000 * bytes) / to.down;
    down.downFreeAt = at;
    this.#time.after(at - this.#time.now, () => {
      for (const frame of frames) if (link.isOpen && !to.isGone) to.receive(link.other, frame);
    });
  }

  /** Both sides see it, the other one after its latency or when it notices. */
  close(link: NetLink, noticedMs: number): void {
    if (!link.isOpen) return;
    const { other, from, to } = link;
    link.isOpen = false;
    this.#forget(from, link);
    from.unlinked(link);
    this.#time.after(noticedMs, () => {
      if (!other.isOpen) return;
      other.isOpen = false;
      this.#forget(to, other);
      if (!to.isGone) to.unlinked(other);
    });
  }

  #forget(peer: NetPeer, link: NetLink): void {
    link.queue = [];
    const uplink = this.#uplink(peer);
    uplink.links = uplink.links.filter((each) => each !== link);
  }
}
