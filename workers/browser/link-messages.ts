/**
 * What page and worker say to each other about peers: WebRTC lives on the page's thread, hashing and the exchange in the worker. Blocks travel as
 * transferables. The contributor's key stays in the worker: the page asks it to sign its peer record, and nothing else can be signed this way.
 */
import type { Hex } from 'viem';
import type { Problem } from '#protocol/errors.ts';
import type { SignedPeerRecord } from '#protocol/p2p/record.ts';
import type { AddressChoice } from '../p2p/libp2p/reach.ts';
import type { LinkEnd, LinkState, PeerAddress } from '../p2p/ports.ts';

export type ToPage =
  | { t: 'open'; url: string; network: Hex; contributor: Hex; choice: AddressChoice }
  | { t: 'signed'; id: number; signature: Hex | null }
  | { t: 'dial'; id: number; target: PeerAddress }
  | { t: 'send'; link: number; bytes: Uint8Array }
  | { t: 'listen' | 'pause' | 'resume' | 'close'; link: number }
  | { t: 'record'; id: number }
  | { t: 'stop' };

export type ToWorker =
  | { t: 'opened'; peer: string; addresses: readonly string[] }
  | { t: 'failed'; problem: Problem }
  | { t: 'addresses'; addresses: readonly string[] }
  | { t: 'sign'; id: number; message: { contributor: Hex; peerKey: Hex; expires: Hex } }
  | {
      t: 'link';
      link: number;
      peer: string;
      contributor: Hex | null;
      state: LinkState;
      direction: 'outbound' | 'inbound';
    }
  | { t: 'frame'; link: number; bytes: Uint8Array }
  /** So many bytes were taken; `full` asks to wait for `drain`. */
  | { t: 'taken'; link: number; count: number; full: boolean }
  | { t: 'drain'; link: number }
  | { t: 'closed'; link: number; reason: LinkEnd }
  | { t: 'dialled'; id: number; link: number }
  | { t: 'undialled'; id: number; problem: Problem }
  | { t: 'recorded'; id: number; record: SignedPeerRecord | null };

/** A MessagePort, or whatever does its part in a test. */
export interface Wire<Out, In> {
  post(message: Out, transfer?: Transferable[]): void;
  listen(heard: (message: In) => void): void;
}

export function wireOf<Out, In>(port: MessagePort): Wire<Out, In> {
  return {
    post: (message, transfer = []) => port.postMessage(message, transfer),
    listen: (heard) => {
      port.addEventListener('message', ({ data }: MessageEvent<In>) => heard(data));
      port.start();
    },
  };
}

/** Frames are whole buffers of their own mostly; a view into a larger one is copied first, since a transfer takes the buffer away. */
export function transferable(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const isWhole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return isWhole ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes);
}
