/** The coordinator's side of contributors' talk among themselves: relay, its door, and what `/v1/ice` answers. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { IceInfo } from '#protocol/http/p2p.ts';
import { type IceOptions, iceServersFor } from './ice.ts';
import type { RelayOptions } from './relay.ts';
import { RelayDoor } from './relay-door.ts';

export interface P2pOptions extends IceOptions, RelayOptions {}

export interface P2p {
  ice(client: string, now: number): IceInfo;
  /** Takes the socket of an upgrade over. Throws `rate_limited`. */
  admit(request: IncomingMessage, socket: Duplex, head: Buffer, client: string): void;
  readonly connections: number;
  readonly reservations: number;
  close(): Promise<void>;
}

/** The answer where contributors do not talk to each other. */
export const noIce: IceInfo = { relay: null, iceServers: [], canRelay: false, expires: null };

/** libp2p is loaded here and not before: a coordinator without it starts as fast as ever. */
export async function openP2p(options: P2pOptions): Promise<P2p> {
  const { openRelay } = await import('./relay.ts');
  const relay = await openRelay(options);
  const door = new RelayDoor(relay.port);
  return {
    ice: (client, now) => ({ relay: relay.peer, ...iceServersFor(options, client, now) }),
    admit: (request, socket, head, client) => door.admit(request, socket, head, client),
    get connections() {
      return relay.connections;
    },
    get reservations() {
      return relay.reservations;
    },
    close: async () => {
      door.close();
      await relay.close();
    },
  };
}
