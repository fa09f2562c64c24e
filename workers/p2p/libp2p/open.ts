/** A transport put together, whatever the platform's WebRTC is. The peer's key is made here and lives as long as the transport. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { webRTC } from '@libp2p/webrtc';
import type { Hex } from 'viem';
import type { Signer } from '#protocol/messages/contribution.ts';
import { httpIce } from '../../transport/http-ice.ts';
import { systemClock } from '../../transport/platform.ts';
import { type AddressChoice, Reach } from './reach.ts';
import { Libp2pTransport } from './transport.ts';

export interface OpenOptions {
  /** The coordinator's http(s) address. */
  url: string;
  network: Hex;
  signer: Signer;
  /** Whether peers may see this machine's address. */
  choice: AddressChoice;
  /** Contributors that are not talked to. */
  isBanned?: (contributor: Hex) => boolean;
  /** How long the other side may take to say who it is. */
  helloMsMax?: number;
}

export async function openTransport(options: OpenOptions, webRtc: typeof webRTC): Promise<Libp2pTransport> {
  const { url, network, signer, choice, isBanned, helloMsMax } = options;
  const date = () => Date.now();
  return new Libp2pTransport({
    ...{ webRtc, signer, network, date, clock: systemClock, random: () => Math.random() },
    privateKey: await generateKeyPair('Ed25519'),
    reach: new Reach({ url, choice, fetchIce: httpIce(url), date }),
    ...(isBanned ? { isBanned } : {}),
    ...(helloMsMax === undefined ? {} : { helloMsMax }),
  });
}
