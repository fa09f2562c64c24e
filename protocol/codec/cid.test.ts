/** CIDs: one form per content, equal to what other implementations compute. */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { base58btc } from 'multiformats/bases/base58';
import { CID } from 'multiformats/cid';
import * as digest from 'multiformats/hashes/digest';
import { describe, expect, it } from 'vitest';
import { AtollError } from '../errors.ts';
import { cidArb } from '../testing/arbitraries.ts';
import {
  cborCidOfDigest,
  cborCode,
  cidOfBlock,
  cidOfDigest,
  cidOfSync,
  digestOfCid,
  isCid,
  parseCid,
  rawCode,
  verifyBlock,
} from './cid.ts';

describe('cid', () => {
  it('is the same by either hash and holds the sha2-256 of the bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const cid = cidOfSync(bytes, rawCode);
        expect(await cidOfBlock(bytes)).toBe(cid);
        expect(isCid(cid)).toBe(true);
        expect(parseCid(cid).toString()).toBe(cid);
        expect(Buffer.from(digestOfCid(cid))).toEqual(createHash('sha256').update(bytes).digest());
      }),
    );
  });

  it('is that of the multiformats library', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (hash) => {
        for (const code of [rawCode, cborCode]) {
          expect(cidOfDigest(hash, code)).toBe(CID.createV1(code, digest.create(0x12, hash)).toString());
        }
      }),
    );
  });

  it('is that of other implementations', () => {
    // Of "hello world", by Python's hashlib and base64.
    const text = new TextEncoder().encode('hello world');
    expect(cidOfSync(text, rawCode)).toBe('bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e');
  });

  it('comes back from its digest', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        const cid = cidOfSync(bytes, cborCode);
        expect(cborCidOfDigest(digestOfCid(cid))).toBe(cid);
      }),
    );
  });

  it('is refused in any other form, and refusing throws AtollError only', () => {
    const cid = cidOfSync(new Uint8Array([1]), rawCode);
    const forms = [
      cid.toUpperCase(),
      `${cid} `,
      `${cid}\n`,
      cid.slice(0, -1),
      `${cid}a`,
      parseCid(cid).toString(base58btc),
      'QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG',
      'bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi',
      '',
      'b',
      'x'.repeat(10_000),
    ];
    for (const form of forms) {
      expect(isCid(form), form).toBe(false);
      expect(() => parseCid(form), form).toThrow(AtollError);
    }
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (text) => {
        expect(isCid(text)).toBe(false);
      }),
    );
  });

  it('proves its bytes and no others', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.nat(), async (bytes, where) => {
        const cid = cidOfSync(bytes, cborCode);
        await verifyBlock(cid, bytes);
        const other = bytes.slice();
        other[where % other.length] = (other[where % other.length] as number) ^ 1;
        await expect(verifyBlock(cid, other)).rejects.toMatchObject({ code: 'bad_block' });
      }),
    );
  });

  it('of one codec is not that of another', () => {
    fc.assert(
      fc.property(cidArb, (cid) => {
        const other = parseCid(cid).code === rawCode ? cborCode : rawCode;
        expect(cidOfSync(new Uint8Array(), other)).not.toBe(cidOfSync(new Uint8Array(), parseCid(cid).code));
      }),
    );
  });
});
