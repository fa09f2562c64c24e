/**
 * One shard stream as a link. It begins with one frame each way, the sender's signed peer record; only then is it anybody's link.
 *
 * WebRTC cannot hold a sender back: what arrives while nobody listens or the link is paused is kept up to `limits.linkReadBytesMax`, then the link is
 * cut. So it is for what a peer sends unread, for what it leaves unread, and for a flood of frames, whatever is in them.
 */
import type { Connection, Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import type { Hex } from 'viem';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Link, LinkEnd, LinkHandlers, LinkState } from '../ports.ts';
import { frameHead, FrameReader } from './framing.ts';

export interface LinkParts {
  connection: Connection;
  stream: Stream;
  direction: 'outbound' | 'inbound';
  /** Milliseconds from any fixed moment. */
  now: () => number;
}

/** A frame up to this size travels with its length in one message. */
const smallBytes = 1 << 14;

export class StreamLink implements Link {
  readonly peer: string;
  readonly direction: 'outbound' | 'inbound';
  contributor: Hex | null = null;
  state: LinkState = 'direct';
  readonly #connection: Connection;
  readonly #stream: Stream;
  /** What the stream puts into one message. */
  readonly #messageBytes: number;
  readonly #now: () => number;
  readonly #reader = new FrameReader(limits.peerRecordBytesMax);
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #handlers: LinkHandlers | null = null;
  #hello: { resolve(record: Uint8Array): void; reject(error: AtollError): void } | null = null;
  #ended: LinkEnd | null = null;
  #paused = false;
  #allowance: number = limits.shardFramesBurst;
  #allowedAt: number;

  constructor({ connection, stream, direction, now }: LinkParts) {
    this.peer = connection.remotePeer.toString();
    this.direction = direction;
    this.#connection = connection;
    this.#stream = stream;
    this.#messageBytes = (stream as { maxMessageSize?: number }).maxMessageSize ?? smallBytes;
    this.#now = now;
    this.#allowedAt = now();
    refillEarly(stream);
    stream.maxWriteBufferLength = limits.linkQueueBytesMax;
    stream.maxReadBufferLength = limits.linkReadBytesMax;
    stream.addEventListener('drain', () => this.#handlers?.drain());
    stream.addEventListener('close', (event) => this.#closed(event));
    connection.addEventListener('close', () => this.#end('remote'));
  }

  get isOpen(): boolean {
    return this.#ended === null;
  }

  /** Sends the own record and returns the other side's, unverified. Throws `unavailable`, `bad_frame`, `too_large`, `cancelled`. */
  async exchangeRecords(own: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#hello = { resolve, reject };
    const give = () => {
      this.close();
      reject(new AtollError('unavailable', 'The peer did not say who it is in time.'));
    };
    signal.addEventListener('abort', give, { once: true });
    try {
      signal.throwIfAborted();
      this.#stream.addEventListener('message', (event) => this.#received(event));
      this.send(own);
      return await promise;
    } finally {
      signal.removeEventListener('abort', give);
      this.#hello = null;
    }
  }

  listen(handlers: LinkHandlers): void {
    queueMicrotask(() => {
      if (this.#ended) return handlers.close(this.#ended);
      this.#handlers = handlers;
      this.#deliver();
    });
  }

  send(frame: Uint8Array): boolean {
    if (this.#ended) return true;
    try {
      if (frame.byteLength > smallBytes) {
        // The length with the first piece, so that a block is not copied to be prefixed.
        const first = Math.min(frame.byteLength, this.#messageBytes - 4);
        const mayGoOn = this.#stream.send(withHead(frame.byteLength, frame.subarray(0, first)));
        return first < frame.byteLength ? this.#stream.send(frame.subarray(first)) : mayGoOn;
      }
      return this.#stream.send(withHead(frame.byteLength, frame));
    } catch {
      this.#end('remote');
      return true;
    }
  }

  pause(): void {
    if (this.#ended || this.#paused) return;
    this.#paused = true;
    this.#hold();
  }

  resume(): void {
    if (this.#ended || !this.#paused) return;
    this.#paused = false;
    queueMicrotask(() => this.#deliver());
  }

  close(): void {
    this.#end('local');
  }

  /** For a peer that broke the rules. */
  fail(): void {
    this.#end('fault');
  }

  #hold(): void {
    if (this.#stream.readStatus === 'readable') this.#stream.pause();
  }

  #received({ data }: StreamMessageEvent): void {
    try {
      const parts = data instanceof Uint8Array ? [data] : data;
      for (const part of parts) this.#reader.push(part, (frame) => this.#take(frame));
    } catch (error) {
      this.#hello?.reject(error as AtollError);
      this.fail();
    }
  }

  #take(frame: Uint8Array): void {
    if (this.#ended) return;
    if (this.#hello) {
      this.#reader.sizeBytesMax = limits.shardFrameBytesMax;
      this.#hello.resolve(frame);
      this.#hello = null;
      this.#hold();
      return;
    }
    if (!this.#isAllowed()) throw new AtollError('rate_limited', 'Too many frames.');
    if (this.#handlers && !this.#paused && this.#waiting.length === 0) return this.#handlers.frame(frame);
    this.#waiting.push(frame);
    this.#waitingBytes += frame.byteLength;
    if (this.#waitingBytes > limits.linkReadBytesMax)
      throw new AtollError('too_large', 'Too much is unread.');
  }

  #isAllowed(): boolean {
    const now = this.#now();
    const gained = ((now - this.#allowedAt) / 1000) * limits.shardFramesPerSecond;
    this.#allowance = Math.min(limits.shardFramesBurst, this.#allowance + gained);
    this.#allowedAt = now;
    return (this.#allowance -= 1) >= 0;
  }

  #deliver(): void {
    while (this.#handlers && !this.#paused && !this.#ended && this.#waiting.length > 0) {
      const frame = this.#waiting.shift() as Uint8Array;
      this.#waitingBytes -= frame.byteLength;
      this.#handlers.frame(frame);
    }
    const isFree = this.#handlers && !this.#paused && !this.#ended;
    if (isFree && this.#stream.readStatus === 'paused') this.#stream.resume();
  }

  #closed({ error }: StreamCloseEvent): void {
    this.#end(error?.name === 'StreamBufferError' ? 'fault' : 'remote');
  }

  /** Closing properly would wait for the other side; a link is its connection, and both go at once. */
  #end(how: LinkEnd): void {
    if (this.#ended) return;
    this.#ended = how;
    this.#waiting = [];
    this.#hello?.reject(new AtollError('unavailable', 'The peer is gone.'));
    this.#connection.abort(new AtollError('cancelled', 'The link is closed.'));
    this.#handlers?.close(how);
  }
}

/** libp2p fills a data channel again only when it has run empty; so it would idle while a busy page gets round to it. */
function refillEarly(stream: Stream): void {
  const { channel } = stream as { channel?: RTCDataChannel };
  if (channel) channel.bufferedAmountLowThreshold = limits.linkBufferBytes / 2;
}

function withHead(sizeBytes: number, piece: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + piece.byteLength);
  bytes.set(frameHead(sizeBytes));
  bytes.set(piece, 4);
  return bytes;
}
