/** Our EIP-712 hashes are viem's, for every kind, message and network. */
import * as fc from 'fast-check';
import { bytesToHex, hashTypedData, hexToBytes, type TypedDataDefinition } from 'viem';
import { expect, it } from 'vitest';
import { addressArb, bytes32Arb } from '../testing/arbitraries.ts';
import { fromHex, toHex } from './hex.ts';
import {
  type SignedKind,
  type SignedMessages,
  signingBytes,
  typedDataTypes,
  typedDomain,
} from './typed-data.ts';

const kinds = Object.keys(typedDataTypes) as SignedKind[];

it('hashes as viem does', () => {
  const fields = fc.record({
    contributor: addressArb,
    nonce: bytes32Arb,
    assignment: bytes32Arb,
    commitment: bytes32Arb,
    salt: bytes32Arb,
    digest: bytes32Arb,
    wallet: addressArb,
    peerKey: bytes32Arb,
    expires: fc.uint8Array({ minLength: 8, maxLength: 8 }).map(toHex),
  });
  fc.assert(
    fc.property(bytes32Arb, fc.constantFrom(...kinds), fields, (network, kind, all) => {
      const names = typedDataTypes[kind].map((field) => field.name);
      const message = Object.fromEntries(names.map((name) => [name, all[name]]));
      const definition = {
        domain: typedDomain(network),
        types: { [kind]: typedDataTypes[kind] },
        primaryType: kind,
        message,
      } as unknown as TypedDataDefinition;
      const ours = signingBytes(network, kind, message as unknown as SignedMessages[SignedKind]);
      expect(toHex(ours)).toBe(hashTypedData(definition));
    }),
    { numRuns: 300 },
  );
});

it('hex is that of viem, there and back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      expect(toHex(bytes)).toBe(bytesToHex(bytes));
      expect(fromHex(toHex(bytes))).toEqual(hexToBytes(toHex(bytes)));
    }),
  );
  for (const bad of ['0x1', '', '12', '0xg0', '0x0g', '0x é', '0X00']) {
    expect(() => fromHex(bad as `0x${string}`), bad).toThrow(RangeError);
  }
});
