/**
 * What a contributor signs, as EIP-712 typed data so that a contract can check it too: hello, commit, reveal.
 *
 * The commitment is salted and bound to assignment and contributor: a copied one cannot be opened by the copier.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { hashTypedData, type Hex, hexToBytes, recoverAddress, type TypedDataDefinition } from 'viem';
import { AtollError } from '../errors.ts';
import { toHex } from './hex.ts';

export { addressSchema, bytes32Schema, signatureSchema, toHex } from './hex.ts';

/** The EIP-712 domain of one network; `network` is the random id made at its first start, so nothing replays elsewhere. */
export function typedDomain(network: Hex) {
  return { name: 'Atoll', version: '1', salt: network } as const;
}

export const typedDataTypes = {
  Hello: [
    { name: 'contributor', type: 'address' },
    { name: 'nonce', type: 'bytes32' },
  ],
  Commit: [
    { name: 'assignment', type: 'bytes32' },
    { name: 'commitment', type: 'bytes32' },
  ],
  Reveal: [
    { name: 'assignment', type: 'bytes32' },
    { name: 'salt', type: 'bytes32' },
    { name: 'digest', type: 'bytes32' },
  ],
} as const;

export interface SignedMessages {
  Hello: { contributor: Hex; nonce: Hex };
  Commit: { assignment: Hex; commitment: Hex };
  Reveal: { assignment: Hex; salt: Hex; digest: Hex };
}
export type SignedKind = keyof SignedMessages;

/** Signs for one contributor; the key never leaves the implementation. */
export interface Signer {
  readonly address: Hex;
  sign<K extends SignedKind>(network: Hex, kind: K, message: SignedMessages[K]): Promise<Hex>;
}

/** The 32-byte EIP-712 hash that is signed. */
export function signingHash<K extends SignedKind>(network: Hex, kind: K, message: SignedMessages[K]): Hex {
  const definition = {
    domain: typedDomain(network),
    types: { [kind]: typedDataTypes[kind] },
    primaryType: kind as string,
    message: message as Record<string, unknown>,
  };
  return hashTypedData(definition as unknown as TypedDataDefinition);
}

/** Half the order of secp256k1: of the two forms of a signature only the one with the lower s counts, as in OpenZeppelin's ECDSA. */
const sMax = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n;

function isContractForm(signature: Hex): boolean {
  return /^0x[0-9a-f]{128}1[bc]$/.test(signature) && BigInt(`0x${signature.slice(66, 130)}`) <= sMax;
}

/** Throws `bad_signature` unless `contributor` signed the message. Takes what a contract would take, and nothing else. */
export async function verifySignature<K extends SignedKind>(
  network: Hex,
  kind: K,
  message: SignedMessages[K],
  signature: Hex,
  contributor: Hex,
): Promise<void> {
  if (!isContractForm(signature)) {
    throw new AtollError('bad_signature', 'The signature needs v of 27 or 28 and the lower s.');
  }
  let signer: string;
  try {
    signer = await recoverAddress({ hash: signingHash(network, kind, message), signature });
  } catch (cause) {
    throw new AtollError('bad_signature', `The ${kind.toLowerCase()} carries no valid signature.`, { cause });
  }
  if (signer.toLowerCase() !== contributor) {
    throw new AtollError('bad_signature', `The ${kind.toLowerCase()} is not signed by ${contributor}.`);
  }
}

const commitTag = utf8ToBytes('atoll/commit/1');

/** sha256(tag | assignment | contributor | salt | digest). */
export function commitmentOf(assignment: Hex, contributor: Hex, salt: Hex, digest: Uint8Array): Hex {
  const parts = [assignment, contributor, salt].map((hex) => hexToBytes(hex));
  return toHex(sha256(concatBytes(commitTag, ...parts, digest)));
}
