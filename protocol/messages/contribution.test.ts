/** Signatures and commitments: they hold for what was signed by whom on which network, and for nothing else. */
import * as fc from 'fast-check';
import { type Hex, hexToBytes, recoverTypedDataAddress } from 'viem';
import { describe, expect, it } from 'vitest';
import { createKey, signerFromKey } from '../signer.ts';
import { addressArb, bytes32Arb } from '../testing/arbitraries.ts';
import {
  commitmentOf,
  type SignedKind,
  type SignedMessages,
  signingHash,
  typedDataTypes,
  typedDomain,
  verifySignature,
} from './contribution.ts';

const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const badSignature = expect.objectContaining({ code: 'bad_signature' });
const keyArb = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes): Hex => `0x${Buffer.from(bytes.with(0, 1)).toString('hex')}`);

type Signed = { [K in SignedKind]: { kind: K; message: SignedMessages[K] } }[SignedKind];
const signedArb: fc.Arbitrary<Signed> = fc.oneof(
  fc.record({
    kind: fc.constant('Hello' as const),
    message: fc.record({ contributor: addressArb, nonce: bytes32Arb }),
  }),
  fc.record({
    kind: fc.constant('Commit' as const),
    message: fc.record({ assignment: bytes32Arb, commitment: bytes32Arb }),
  }),
  fc.record({
    kind: fc.constant('Reveal' as const),
    message: fc.record({ assignment: bytes32Arb, salt: bytes32Arb, digest: bytes32Arb }),
  }),
);

function flipped(hex: Hex, nibble: number): Hex {
  const at = 2 + (nibble % (hex.length - 2));
  const digit = ((parseInt(hex[at] as string, 16) + 1) % 16).toString(16);
  return `${hex.slice(0, at)}${digit}${hex.slice(at + 1)}` as Hex;
}

describe('signatures', () => {
  it('verify for the signer, the message and the network, and for nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(
        keyArb,
        bytes32Arb,
        signedArb,
        fc.nat(),
        async (key, network, { kind, message }, nibble) => {
          const signer = signerFromKey(key);
          const signature = await signer.sign(network, kind, message as never);
          const verify = (n: Hex, k: SignedKind, m: object, s: Hex, who: Hex) =>
            verifySignature(n, k, m as never, s, who);

          await verify(network, kind, message, signature, signer.address);
          await expect(
            verify(flipped(network, nibble), kind, message, signature, signer.address),
          ).rejects.toEqual(badSignature);
          await expect(
            verify(network, kind, message, flipped(signature, nibble), signer.address),
          ).rejects.toEqual(badSignature);
          await expect(
            verify(network, kind, message, signature, flipped(signer.address, nibble)),
          ).rejects.toEqual(badSignature);
          for (const [field, value] of Object.entries(message)) {
            const tampered = { ...message, [field]: flipped(value as Hex, nibble) };
            await expect(verify(network, kind, tampered, signature, signer.address)).rejects.toEqual(
              badSignature,
            );
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('are what a wallet makes of the same typed data', async () => {
    const key = createKey();
    const signer = signerFromKey(key);
    const network: Hex = `0x${'5a'.repeat(32)}`;
    const message = { assignment: `0x${'01'.repeat(32)}`, commitment: `0x${'02'.repeat(32)}` } as const;
    const signature = await signer.sign(network, 'Commit', message);
    const recovered = await recoverTypedDataAddress({
      domain: typedDomain(network),
      types: { Commit: typedDataTypes.Commit },
      primaryType: 'Commit',
      message,
      signature,
    });
    expect(recovered.toLowerCase()).toBe(signer.address);
  });

  it('have one form: the other s and the other v are refused, as a contract would', async () => {
    const signer = signerFromKey(createKey());
    const network: Hex = `0x${'11'.repeat(32)}`;
    const message = { contributor: signer.address, nonce: network };
    const signature = await signer.sign(network, 'Hello', message);
    const verify = (s: string) => verifySignature(network, 'Hello', message, s as Hex, signer.address);
    await verify(signature);

    const [r, s, v] = [signature.slice(2, 66), signature.slice(66, 130), signature.slice(130)];
    const otherS = (order - BigInt(`0x${s}`)).toString(16).padStart(64, '0');
    const otherV = v === '1b' ? '1c' : '1b';
    await expect(verify(`0x${r}${otherS}${otherV}`)).rejects.toEqual(badSignature);
    await expect(verify(`0x${r}${s}${v === '1b' ? '00' : '01'}`)).rejects.toEqual(badSignature);
    for (const text of [
      '0x',
      '0x00',
      '',
      signature.slice(0, -1),
      `${signature}00`,
      signature.toUpperCase(),
    ]) {
      await expect(verify(text)).rejects.toEqual(badSignature);
    }
    await expect(verify(`0x${'00'.repeat(64)}1b`)).rejects.toEqual(badSignature);
    await expect(verify(`0x${'ff'.repeat(32)}${'01'.repeat(32)}1b`)).rejects.toEqual(badSignature);
  });

  it('of one kind do not pass for another', () => {
    fc.assert(
      fc.property(bytes32Arb, bytes32Arb, bytes32Arb, (network, a, b) => {
        const commit = signingHash(network, 'Commit', { assignment: a, commitment: b });
        const reveal = signingHash(network, 'Reveal', { assignment: a, salt: b, digest: b });
        expect(commit).not.toBe(reveal);
      }),
    );
  });
});

describe('commitments', () => {
  it('bind assignment, contributor, salt and digest', () => {
    fc.assert(
      fc.property(
        bytes32Arb,
        addressArb,
        bytes32Arb,
        bytes32Arb,
        fc.nat(),
        (assignment, who, salt, digest, at) => {
          const bytes = hexToBytes(digest);
          const commitment = commitmentOf(assignment, who, salt, bytes);
          expect(commitmentOf(assignment, who, salt, bytes)).toBe(commitment);
          expect(commitmentOf(flipped(assignment, at), who, salt, bytes)).not.toBe(commitment);
          expect(commitmentOf(assignment, flipped(who, at), salt, bytes)).not.toBe(commitment);
          expect(commitmentOf(assignment, who, flipped(salt, at), bytes)).not.toBe(commitment);
          expect(commitmentOf(assignment, who, salt, hexToBytes(flipped(digest, at)))).not.toBe(commitment);
        },
      ),
    );
  });
});
