/**
 * The relay: a libp2p node through which contributors find each other's WebRTC. It carries signalling only, so what it lends to one pair is small and
 * short, and it never dials anybody.
 *
 * libp2p cannot share a port with another server: it listens on a loopback port, and relay-door.ts leads to it from the coordinator's one port. Its
 * key lives as long as the process.
 */
import { circuitRelayServer } from '@libp2p/circuit-relay-v2';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import { webSockets } from '@libp2p/websockets';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { limits } from '#protocol/limits.ts';
import { silentLibp2pLogger } from '#protocol/p2p/libp2p-logger.ts';

export interface RelayOptions {
  /** Whether this peer may be found through the relay, and find others; all may unless given. */
  admits?: (peer: string) => boolean;
}

export interface Relay {
  /** Its peer id. */
  readonly peer: string;
  /** On 127.0.0.1. */
  readonly port: number;
  /** Peers connected to it now. */
  readonly connections: number;
  /** Peers that can be found through it now. */
  readonly reservations: number;
  close(): Promise<void>;
}

/** All a contributor's signalling: descriptions, candidates, and a second try. */
const relayedBytesMax = 1n << 17n;
const relayedMsMax = 60_000;

function relayNode({ admits = () => true }: RelayOptions) {
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0/ws'] },
    transports: [webSockets()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    logger: silentLibp2pLogger,
    connectionManager: {
      maxConnections: limits.relayConnectionsMax,
      // All come from the door, and so from one address; the door counts by who really asks.
      inboundConnectionThreshold: Infinity,
      maxIncomingPendingConnections: 200,
    },
    connectionGater: {
      denyDialPeer: () => true,
      denyInboundEncryptedConnection: (peer) => !admits(peer.toString()),
      denyInboundRelayReservation: (peer) => !admits(peer.toString()),
      denyOutboundRelayedConnection: (from, to) => !admits(from.toString()) || !admits(to.toString()),
    },
    services: {
      identify: identify({ runOnConnectionOpen: false }),
      relay: circuitRelayServer({
        reservations: {
          maxReservations: limits.relayConnectionsMax,
          defaultDataLimit: relayedBytesMax,
          defaultDurationLimit: relayedMsMax,
        },
      }),
    },
  });
}

export async function openRelay(options: RelayOptions = {}): Promise<Relay> {
  const node = await relayNode(options);
  const port = Number(/\/tcp\/(\d+)\//.exec(node.getMultiaddrs()[0]?.toString() ?? '')?.[1]);
  return {
    peer: node.peerId.toString(),
    port,
    get connections() {
      return node.getConnections().length;
    },
    get reservations() {
      return node.services.relay.reservations.size;
    },
    close: async () => node.stop(),
  };
}
