/**
 * Leads WebSockets from the coordinator's port to the relay's loopback port: sends the handshake on with the few headers that it needs, then copies
 * bytes both ways. Counts what one client address has open, since behind the door all look alike.
 */
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';

/** Nothing else of what a client sends reaches the relay: no cookie, no address. */
const passed = ['sec-websocket-key', 'sec-websocket-version', 'sec-websocket-protocol'];

export class RelayDoor {
  readonly #port: number;
  readonly #open = new Set<Duplex>();
  readonly #byClient = new Map<string, number>();

  constructor(relayPort: number) {
    this.#port = relayPort;
  }

  /** Takes the socket of an upgrade over. Throws `rate_limited` before it touches it. */
  admit(request: IncomingMessage, socket: Duplex, head: Buffer, client: string): void {
    const count = this.#byClient.get(client) ?? 0;
    if (count >= limits.relayConnectionsPerAddressMax || this.#open.size >= limits.relayConnectionsMax) {
      throw new AtollError('rate_limited', 'Too many connections to the relay are open.');
    }
    this.#byClient.set(client, count + 1);
    this.#open.add(socket);
    const relay = connect(this.#port, '127.0.0.1');
    socket.once('close', () => {
      this.#open.delete(socket);
      const left = (this.#byClient.get(client) ?? 1) - 1;
      if (left > 0) this.#byClient.set(client, left);
      else this.#byClient.delete(client);
    });
    join(socket, relay);
    relay.once('connect', () => {
      relay.setNoDelay(true);
      relay.write(handshake(request));
      if (head.length > 0) relay.write(head);
      socket.pipe(relay);
      relay.pipe(socket);
    });
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

/** One ends with the other. */
function join(socket: Duplex, relay: Socket): void {
  const end = () => {
    socket.destroy();
    relay.destroy();
  };
  for (const side of [socket, relay]) side.on('error', end).once('close', end);
}

function handshake({ headers }: IncomingMessage): string {
  const lines = passed.flatMap((name) => {
    const value = headers[name];
    return typeof value === 'string' ? [`${name}: ${value}`] : [];
  });
  const head = ['GET / HTTP/1.1', 'Host: 127.0.0.1', 'Connection: Upgrade', 'Upgrade: websocket', ...lines];
  return `${head.join('\r\n')}\r\n\r\n`;
}
