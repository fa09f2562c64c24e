/**
 * What a page does for tests and measurements of links between pages, told by Node: opens a transport, dials, sends over a link, and over a bare
 * RTCDataChannel between the same two pages, whose signalling Node carries.
 */
import { limits } from '#protocol/limits.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { connectionsLeft, openPageTransport } from '../../browser/p2p-transport.ts';
import type { AddressChoice } from '../libp2p/reach.ts';
import './page-exchange.ts';
import type { Libp2pTransport } from '../libp2p/transport.ts';
import type { Link } from '../ports.ts';

/** Time and rate of one transfer, as its sender saw it. */
export interface Sent {
  ms: number;
  bytes: number;
}

export interface PageUnderTest {
  /** The peer id. */
  open(url: string, network: `0x${string}`, choice?: AddressChoice): Promise<string>;
  addresses(): readonly string[];
  dial(peer: string, addresses?: readonly string[]): Promise<{ ms: number; state: Link['state'] }>;
  counts(): { dials: number; tries: number; links: number; connectionsLeft: number };
  /** Bytes of frames, echoed by the other side. */
  echo(peer: string, sizeBytes: number): Promise<number>;
  /** Until the other side has them all. */
  sendOverLink(peer: string, bytes: number, frameBytes: number): Promise<Sent>;
  closeLink(peer: string): Promise<void>;
  stop(): Promise<void>;
  rawOffer(): Promise<string>;
  rawAnswer(offer: string): Promise<string>;
  rawAccept(answer: string): Promise<void>;
  sendRaw(bytes: number, messageBytes: number): Promise<Sent>;
}

declare global {
  // eslint-disable-next-line no-var
  var p2pPage: PageUnderTest;
}

/** The first byte of a frame: to be echoed, to be counted, the last of those (answered by `done`), an echo. */
const kinds = { echo: 1, data: 2, last: 3, done: 4, echoed: 5 } as const;

let transport: Libp2pTransport | null = null;
const waiters = new Map<string, (frame: Uint8Array) => void>();
const drains = new Map<string, () => void>();

function attend(link: Link): void {
  link.listen({
    frame(bytes) {
      if (bytes[0] === kinds.data) return;
      if (bytes[0] === kinds.last) return void link.send(Uint8Array.of(kinds.done));
      if (bytes[0] !== kinds.echo) return waiters.get(link.peer)?.(bytes);
      bytes[0] = kinds.echoed;
      link.send(bytes);
    },
    drain: () => drains.get(link.peer)?.(),
    close: () => undefined,
  });
}

function mine(): Libp2pTransport {
  if (!transport) throw new Error('The transport is not open.');
  return transport;
}

function linkTo(peer: string): Link {
  const link = mine().links.find((each) => each.peer === peer);
  if (!link) throw new Error('There is no link to this peer.');
  return link;
}

function answer(peer: string): Promise<Uint8Array> {
  return new Promise((resolve) => waiters.set(peer, resolve));
}

const once = (target: EventTarget, type: string) =>
  new Promise<Event>((resolve) => target.addEventListener(type, resolve, { once: true }));

let raw: RTCPeerConnection | null = null;
let channel: RTCDataChannel | null = null;

/** Signalling by hand is simplest with all candidates in the description. */
async function described(connection: RTCPeerConnection): Promise<string> {
  if (connection.iceGatheringState !== 'complete') {
    await new Promise<void>((resolve) => {
      connection.addEventListener('icegatheringstatechange', () => {
        if (connection.iceGatheringState === 'complete') resolve();
      });
    });
  }
  return JSON.stringify(connection.localDescription);
}

/** As much as a link may have. */
const rawHighBytes = limits.linkBufferBytes;
const rawLowBytes = rawHighBytes / 2;

globalThis.p2pPage = {
  async open(url, network, choice = 'direct') {
    const signer = signerFromKey(createKey());
    transport = await openPageTransport({ url, network, signer, choice });
    transport.onLink(attend);
    await transport.start();
    return transport.peer;
  },
  addresses: () => mine().addresses,
  async dial(peer, addresses = []) {
    const from = performance.now();
    const { state } = await mine().dial({ peer, addresses });
    return { ms: performance.now() - from, state };
  },
  counts: () => ({
    ...mine().counts,
    links: mine().links.length,
    connectionsLeft: connectionsLeft(),
  }),
  async echo(peer, sizeBytes) {
    const echoed = answer(peer);
    linkTo(peer).send(new Uint8Array(sizeBytes).fill(kinds.echo));
    return (await echoed).byteLength;
  },
  async sendOverLink(peer, bytes, frameBytes) {
    const link = linkTo(peer);
    const frame = new Uint8Array(frameBytes).fill(7);
    frame[0] = kinds.data;
    const done = answer(peer);
    const from = performance.now();
    for (let left = bytes; left > 0; left -= frameBytes) {
      const room = new Promise<void>((resolve) => drains.set(peer, resolve));
      if (!link.send(frame)) await room;
    }
    link.send(Uint8Array.of(kinds.last));
    await done;
    return { ms: performance.now() - from, bytes };
  },
  async closeLink(peer) {
    linkTo(peer).close();
  },
  async stop() {
    await transport?.stop();
    transport = null;
  },
  async rawOffer() {
    raw = new RTCPeerConnection({ iceServers: [] });
    channel = raw.createDataChannel('raw');
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = rawLowBytes;
    await raw.setLocalDescription();
    return described(raw);
  },
  async rawAnswer(offer) {
    raw = new RTCPeerConnection({ iceServers: [] });
    raw.addEventListener('datachannel', ({ channel: opened }) => {
      channel = opened;
      opened.binaryType = 'arraybuffer';
      opened.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
        if (new Uint8Array(data)[0] === kinds.last) opened.send(Uint8Array.of(kinds.done));
      };
    });
    await raw.setRemoteDescription(JSON.parse(offer) as RTCSessionDescriptionInit);
    await raw.setLocalDescription();
    return described(raw);
  },
  async rawAccept(given) {
    await raw?.setRemoteDescription(JSON.parse(given) as RTCSessionDescriptionInit);
    if (channel?.readyState !== 'open') await once(channel as RTCDataChannel, 'open');
  },
  async sendRaw(bytes, messageBytes) {
    const open = channel as RTCDataChannel;
    const message = new Uint8Array(messageBytes).fill(7);
    message[0] = kinds.data;
    const done = once(open, 'message');
    const from = performance.now();
    for (let left = bytes; left > 0; left -= messageBytes) {
      if (open.bufferedAmount > rawHighBytes) await once(open, 'bufferedamountlow');
      open.send(message);
    }
    open.send(Uint8Array.of(kinds.last));
    await done;
    return { ms: performance.now() - from, bytes };
  },
};
