/**
 * What a contributor signs, as EIP-712 typed data so that a contract can check it too: hello, commit, reveal; and what a coordinator
 * signs to be known by.
 *
 * The commitment is salted and bound to assignment and contributor: a copied one cannot be opened by the copier.
 */
import { secp256k1 } from '@noble/curves/secp256k1';
import { sha256 } from '@noble/hashes/sha2.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import type { Hex } from 'viem';
import { AtollError } from '../errors.ts';
import { fromHex, toHex } from './hex.ts';
import { type Hash, type SignedKind, type SignedMessages, signingBytes } from './typed-data.ts';

export { addressSchema, bytes32Schema, fromHex, signatureSchema, toHex } from './hex.ts';
export { type SignedKind, type SignedMessages, typedDataTypes, typedDomain } from './typed-data.ts';

/** Signs for one contributor; the key never leaves the implementation. */
export interface Signer {
  readonly address: Hex;
  sign<K extends SignedKind>(network: Hex, kind: K, message: SignedMessages[K]): Promise<Hex>;
}

/** The 32-byte EIP-712 hash that is signed. */
export function signingHash<K extends SignedKind>(network: Hex, kind: K, message: SignedMessages[K]): Hex {
  return toHex(signingBytes(network, kind, message));
}

/** The uncompressed public key (65 bytes) that made the signature r | s over `hash`. Throws when there is none. */
export type RecoverKey = (hash: Uint8Array, signature: Uint8Array, recovery: 0 | 1) => Uint8Array;

/** What a check is made of. */
export interface SignatureCrypto {
  recover: RecoverKey;
  keccak: Hash;
}

/** In plain JavaScript, for browsers; a server passes a native one. */
export const plainCrypto: SignatureCrypto = {
  recover: (hash, signature, recovery) =>
    secp256k1.Signature.fromCompact(signature)
      .addRecoveryBit(recovery)
      .recoverPublicKey(hash)
      .toRawBytes(false),
  keccak: keccak_256,
};

/** Half the order of secp256k1: of the two forms of a signature only the one with the lower s counts, as in OpenZeppelin's ECDSA. */
const sMax = '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0';

function isContractForm(signature: Hex): boolean {
  // Of one length and case, so that they compare as numbers do.
  return /^0x[0-9a-f]{128}1[bc]$/.test(signature) && signature.slice(66, 130) <= sMax;
}

/** The address of an uncompressed public key. */
function addressOf(key: Uint8Array, keccak: Hash): Hex {
  return toHex(keccak(key.subarray(1)).subarray(12));
}

/** Throws `bad_signature` unless `contributor` signed the message. Takes what a contract would take, and nothing else. */
export async function verifySignature<K extends SignedKind>(
  network: Hex,
  kind: K,
  message: SignedMessages[K],
  signature: Hex,
  contributor: Hex,
  { recover, keccak }: SignatureCrypto = plainCrypto,
): Promise<void> {
  if (!isContractForm(signature)) {
    throw new AtollError('bad_signature', 'The signature needs v of 27 or 28 and the lower s.');
  }
  let key: Uint8Array;
  try {
    const bytes = fromHex(signature);
    const recovery = bytes[64] === 27 ? 0 : 1;
    key = recover(signingBytes(network, kind, message, keccak), bytes.subarray(0, 64), recovery);
  } catch (cause) {
    throw new AtollError('bad_signature', `The ${kind.toLowerCase()} carries no valid signature.`, { cause });
  }
  if (addressOf(key, keccak) !== contributor) {
    throw new AtollError('bad_signature', `The ${kind.toLowerCase()} is not signed by ${contributor}.`);
  }
}

const commitTag = utf8ToBytes('atoll/commit/1');

/** sha256(tag | assignment | contributor | salt | digest). A server passes a native `hash`. */
export function commitmentOf(
  assignment: Hex,
  contributor: Hex,
  salt: Hex,
  digest: Uint8Array,
  hash: Hash = sha256,
): Hex {
  const parts = [assignment, contributor, salt].map(fromHex);
  return toHex(hash(concatBytes(commitTag, ...parts, digest)));
}
