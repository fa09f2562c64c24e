/** What a transport is opened with; without libp2p itself, so that nobody loads it to find out that it is of no use. */
import type { Hex } from 'viem';
import type { Signer } from '#protocol/messages/contribution.ts';
import { httpIce } from '../../transport/http-ice.ts';
import { type AddressChoice, Reach } from './reach.ts';

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

/** How others are reached from here. */
export function reachOf({ url, choice }: OpenOptions): Reach {
  return new Reach({ url, choice, fetchIce: httpIce(url), date: () => Date.now() });
}
