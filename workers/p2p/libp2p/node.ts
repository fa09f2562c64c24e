/**
 * The libp2p node of one contributor, with nothing in it that is not needed: WebSocket to the relay, WebRTC to others, no discovery, no metrics, no
 * pings. It identifies itself to the relay only.
 */
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2';
import type { PrivateKey } from '@libp2p/interface';
import { identify } from '@libp2p/identify';
import { noise } from '@libp2p/noise';
import type { webRTC } from '@libp2p/webrtc';
import { webSockets } from '@libp2p/websockets';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { limits } from '#protocol/limits.ts';
import { silentLibp2pLogger } from '#protocol/p2p/libp2p-logger.ts';

/** Throughput over 16 KiB messages, the default, is two thirds of it; browsers take 256 KiB. */
const messageBytes = 1 << 16;
/** The relay's answer may take long where many come at once. */
export const reservationMsMax = 20_000;

export interface NodeOptions {
  privateKey: PrivateKey;
  webRtc: typeof webRTC;
  rtcConfiguration: () => Promise<RTCConfiguration>;
}

export function createNode({ privateKey, webRtc, rtcConfiguration }: NodeOptions) {
  return createLibp2p({
    privateKey,
    start: false,
    logger: silentLibp2pLogger,
    addresses: { listen: ['/p2p-circuit', '/webrtc'] },
    transports: [
      webSockets(),
      circuitRelayTransport({ reservationCompletionTimeout: reservationMsMax }),
      webRtc({
        rtcConfiguration,
        dataChannel: { maxMessageSize: messageBytes, maxBufferedAmount: limits.linkBufferBytes },
      }),
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionManager: {
      // The relay is dialled again by relay-client.ts, at an address that may be new.
      reconnectRetries: 0,
      inboundConnectionThreshold: Infinity,
      addressDialTimeout: limits.peerDialMsMax,
    },
    // The default in browsers denies ws:// and private addresses, which are those of a coordinator at home.
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify({ runOnConnectionOpen: false, runOnLimitedConnection: false }) },
  });
}
export type P2pNode = Awaited<ReturnType<typeof createNode>>;
