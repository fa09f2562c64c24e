/**
 * The coordinator's `/v1/contribute` over the platform's `WebSocket`, which browsers, their workers and Node all have.
 *
 * A WebSocket cannot say when it can take more, so `send` looks at `bufferedAmount` and waits while much is queued.
 */
import { AtollError } from '#protocol/errors.ts';
import { routes } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { Clock, Link, Transport } from '../runtime/ports.ts';
import { sleep } from '../runtime/timing.ts';
import { FrameQueue } from './frame-queue.ts';

/** Queued bytes above which `send` waits: two blocks. */
const bufferedBytesMax = 2 * limits.blockBytesMax;
const drainPollMs = 20;

/** `url` is the coordinator's http(s) address. Throws `bad_config` on another kind of address. */
export function webSocketTransport(url: string, clock: Clock): Transport {
  const address = contributeUrl(url);
  return {
    connect: (signal) => open(address, clock, signal),
  };
}

export function contributeUrl(url: string): string {
  let address: URL;
  try {
    address = new URL(url);
  } catch (cause) {
    throw new AtollError('bad_config', 'The address of the coordinator is not a URL.', { cause });
  }
  if (address.protocol !== 'http:' && address.protocol !== 'https:') {
    throw new AtollError('bad_config', 'The address of the coordinator must start with http:// or https://.');
  }
  address.protocol = address.protocol === 'http:' ? 'ws:' : 'wss:';
  address.pathname = address.pathname.replace(/\/$/, '') + routes.contribute;
  address.search = '';
  address.hash = '';
  return address.href;
}

function open(address: string, clock: Clock, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(cancelled());
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    const link = new SocketLink(socket, clock);
    const onAbort = () => {
      reject(cancelled());
      socket.close();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.addEventListener('open', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(link);
    });
    // The platform does not say why a connection failed; `close` always follows `error`.
    socket.addEventListener('close', () => {
      signal.removeEventListener('abort', onAbort);
      reject(new AtollError('unavailable', 'The coordinator cannot be reached.'));
    });
  });
}

function cancelled(): AtollError {
  return new AtollError('cancelled', 'The connection was not needed any more.');
}

class SocketLink implements Link {
  readonly frames = new FrameQueue();
  readonly #socket: WebSocket;
  readonly #clock: Clock;
  readonly #gone = new AbortController();

  constructor(socket: WebSocket, clock: Clock) {
    this.#socket = socket;
    this.#clock = clock;
    socket.addEventListener('message', ({ data }) => this.#receive(data));
    socket.addEventListener('close', () => this.#end());
    socket.addEventListener('error', () => {}); // `close` follows and says all there is to say
  }

  async send(bytes: Uint8Array): Promise<void> {
    if (this.#socket.readyState !== WebSocket.OPEN) throw closed();
    this.#socket.send(bytes as Uint8Array<ArrayBuffer>);
    while (this.#socket.bufferedAmount > bufferedBytesMax) {
      await sleep(this.#clock, drainPollMs, this.#gone.signal);
    }
  }

  /** What is queued goes out before the closing handshake; a peer that never answers it is left after a while. */
  async close(): Promise<void> {
    if (this.#gone.signal.aborted) return;
    this.#socket.close(1000);
    await sleep(this.#clock, limits.stopMsMax, this.#gone.signal).catch(() => {});
    this.#end();
  }

  #receive(data: unknown): void {
    // A text message is no frame: an empty one stands for it, and is refused like any other that cannot be read.
    this.frames.push(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array());
  }

  #end(): void {
    this.#gone.abort(closed());
    this.frames.end();
  }
}

function closed(): AtollError {
  return new AtollError('unavailable', 'The connection to the coordinator is closed.');
}
