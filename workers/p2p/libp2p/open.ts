/** A transport put together, whatever the platform's WebRTC is. The peer's key is made here and lives as long as the transport. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { webRTC } from '@libp2p/webrtc';
import { systemClock } from '../../transport/platform.ts';
import { type OpenOptions, reachOf } from './options.ts';
import { Libp2pTransport } from './transport.ts';

export async function openTransport(options: OpenOptions, webRtc: typeof webRTC): Promise<Libp2pTransport> {
  const { network, signer, isBanned, helloMsMax } = options;
  const date = () => Date.now();
  return new Libp2pTransport({
    ...{ webRtc, signer, network, date, clock: systemClock, random: () => Math.random() },
    privateKey: await generateKeyPair('Ed25519'),
    reach: reachOf(options),
    ...(isBanned ? { isBanned } : {}),
    ...(helloMsMax === undefined ? {} : { helloMsMax }),
  });
}
