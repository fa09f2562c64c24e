/**
 * Checks of contributors' signatures on a server: libsecp256k1 where its prebuilt addon loads (60 us a signature), plain JavaScript elsewhere
 * (2,000 us). Both take and refuse the same signatures; a test compares them.
 */
import { createRequire } from 'node:module';
import {
  plainCrypto,
  type RecoverKey,
  type SignatureCrypto,
  type SignedKind,
  type SignedMessages,
  verifySignature,
} from '#protocol/messages/contribution.ts';
import type * as secp256k1 from 'secp256k1';
import type { Hex } from 'viem';
import { keccak256 } from './keccak.ts';

/** Throws `bad_signature` unless `contributor` signed the message on this network. */
export type VerifySignature = <K extends SignedKind>(
  kind: K,
  message: SignedMessages[K],
  signature: Hex,
  contributor: Hex,
) => Promise<void>;

/** Null where there is no addon for this platform. The package itself would fall back to `elliptic`, which takes signatures that it should not. */
export function nativeRecoverKey(): RecoverKey | null {
  const native = addon();
  return native && ((hash, signature, recovery) => native.ecdsaRecover(signature, recovery, hash, false));
}

/** Signs 32 bytes as r | s | v, with the lower s; null where there is no addon. */
export function nativeSign(): ((hash: Uint8Array, key: Uint8Array) => Uint8Array) | null {
  const native = addon();
  if (!native) return null;
  return (hash, key) => {
    const { signature, recid } = native.ecdsaSign(hash, key);
    return Uint8Array.of(...signature, 27 + recid);
  };
}

function addon(): typeof secp256k1 | null {
  try {
    return createRequire(import.meta.url)('secp256k1/bindings') as typeof secp256k1;
  } catch {
    return null;
  }
}

const serverCrypto: SignatureCrypto = {
  recover: nativeRecoverKey() ?? plainCrypto.recover,
  keccak: keccak256,
};

export function signatureCheck(network: Hex): VerifySignature {
  return (kind, message, signature, contributor) =>
    verifySignature(network, kind, message, signature, contributor, serverCrypto);
}
