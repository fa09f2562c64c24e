/** Peer records: they hold for one contributor, peer, network and time, and for nothing else. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { encodeCanonical } from '../codec/cbor.ts';
import { limits } from '../limits.ts';
import { fromHex, toHex } from '../messages/hex.ts';
import { createKey, signerFromKey } from '../signer.ts';
import { addressArb, bytes32Arb } from '../testing/arbitraries.ts';
import {
  decodePeerRecord,
  encodePeerRecord,
  keyOfPeerId,
  peerIdOfKey,
  signPeerRecord,
  verifyPeerRecord,
} from './record.ts';

const network = toHex(new Uint8Array(32).fill(7));
const now = 1_800_000_000_000;
const badSignature = expect.objectContaining({ code: 'bad_signature' });

it('knows peer ids as libp2p does', async () => {
  for (let i = 0; i < 5; i++) {
    const key = await generateKeyPair('Ed25519');
    const peer = peerIdFromPrivateKey(key).toString();
    expect(keyOfPeerId(peer)).toBe(toHex(key.publicKey.raw));
    expect(peerIdOfKey(toHex(key.publicKey.raw))).toBe(peer);
  }
  const others = [await generateKeyPair('secp256k1'), await generateKeyPair('RSA', 2048)];
  for (const key of others) {
    expect(() => keyOfPeerId(peerIdFromPrivateKey(key).toString())).toThrow('Ed25519');
  }
  expect(() => peerIdOfKey('0x00')).toThrow('32 bytes');
});

it('goes there and back, and nothing else is taken', async () => {
  const signer = signerFromKey(createKey());
  await fc.assert(
    fc.asyncProperty(bytes32Arb, fc.nat(limits.peerRecordMsMax - 1), async (key, ms) => {
      const peer = peerIdOfKey(key);
      const record = await signPeerRecord(signer, network, peer, now + 1 + ms);
      const bytes = encodePeerRecord(record);
      expect(bytes.byteLength).toBeLessThanOrEqual(limits.peerRecordBytesMax);
      expect(decodePeerRecord(bytes)).toEqual(record);
      await expect(verifyPeerRecord(record, { network, peer, now })).resolves.toBe(signer.address);
    }),
    { numRuns: 20 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      expect(() => decodePeerRecord(bytes)).toThrow();
    }),
  );
});

it('refuses what is not so', async () => {
  const signer = signerFromKey(createKey());
  await fc.assert(
    fc.asyncProperty(bytes32Arb, bytes32Arb, bytes32Arb, addressArb, async (key, other, wrong, address) => {
      fc.pre(key !== other && wrong !== network && address !== signer.address);
      const peer = peerIdOfKey(key);
      const checks = { network, peer, now };
      const record = await signPeerRecord(signer, network, peer, now + 1000);
      const refused = async (given: typeof record, on = checks) =>
        expect(verifyPeerRecord(given, on)).rejects.toEqual(badSignature);
      await refused(record, { ...checks, network: wrong });
      await refused(record, { ...checks, peer: peerIdOfKey(other) });
      await refused({ ...record, peer: peerIdOfKey(other) }, { ...checks, peer: peerIdOfKey(other) });
      await refused({ ...record, contributor: address });
      await refused({ ...record, expires: record.expires + 1 });
      await refused(record, { ...checks, now: record.expires });
      await refused(await signPeerRecord(signer, network, peer, now + limits.peerRecordMsMax + 1));
    }),
    { numRuns: 20 },
  );
});

it('does not decode surplus keys, other versions or more bytes than a record has', async () => {
  const signer = signerFromKey(createKey());
  const record = await signPeerRecord(signer, network, peerIdOfKey(network), now);
  const refused = (value: object) => expect(() => decodePeerRecord(encodeCanonical(value))).toThrow();
  refused({ ...record, extra: 1 });
  refused({ ...record, v: 2 });
  refused({ ...record, peer: 'x'.repeat(60) });
  refused({ ...record, expires: -1 });
  refused({ ...record, peer: 'x'.repeat(limits.peerRecordBytesMax) });
  expect(fromHex(record.signature).byteLength).toBe(65);
});
