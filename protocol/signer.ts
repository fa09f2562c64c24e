/** A contributor key held in memory. A donor needs no wallet: the key is made where it is used. */
import { generatePrivateKey, privateKeyToAccount, sign } from 'viem/accounts';
import type { Hex } from 'viem';
import { type SignedKind, type SignedMessages, type Signer, signingHash } from './messages/contribution.ts';

export function createKey(): Hex {
  return generatePrivateKey();
}

/** A `Signer` over a 32-byte private key. Throws on a key outside the curve's order. */
export function signerFromKey(privateKey: Hex): Signer {
  const address = privateKeyToAccount(privateKey).address.toLowerCase() as Hex;
  return {
    address,
    sign: <K extends SignedKind>(network: Hex, kind: K, message: SignedMessages[K]) =>
      sign({ hash: signingHash(network, kind, message), privateKey, to: 'hex' }),
  };
}
