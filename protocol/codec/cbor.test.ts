/** The canonical codec: one value has one encoding, and hostile bytes are refused with an AtollError, whatever they are. */
import * as cborg from 'cborg';
import * as fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { AtollError } from '../errors.ts';
import { limits } from '../limits.ts';
import { cidArb, textArb } from '../testing/arbitraries.ts';
import {
  decodeCanonical,
  encodeCanonical,
  linkOf,
  linkSchema,
  linksOf,
  parseDocument,
  parseExact,
  parseValue,
  sameBytes,
} from './cbor.ts';

/** Values of the IPLD data model, without links. `-0` is 0 there. */
const plainArb = fc.letrec((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
    textArb(20),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('node'), { maxLength: 5 }),
    fc.dictionary(textArb(8), tie('node'), { maxKeys: 5, noNullPrototype: true }),
  ),
})).node;

const codeOfThrown = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof AtollError) return error.code;
    throw error;
  }
  return 'nothing thrown';
};

const nested = (depth: number): Uint8Array => new Uint8Array([...Array<number>(depth).fill(0x81), 0x01]);

describe('canonical CBOR', () => {
  it('decodes what it encoded', () => {
    fc.assert(
      fc.property(plainArb, (value) => {
        expect(decodeCanonical(encodeCanonical(value))).toEqual(value);
      }),
    );
  });

  it('gives plain bytes that nothing else holds', () => {
    for (const value of [1, 'x'.repeat(10_000), new Uint8Array(100_000), { a: [new Uint8Array(9)] }]) {
      const bytes = encodeCanonical(value);
      expect(bytes.constructor).toBe(Uint8Array);
      expect(encodeCanonical(value).buffer).not.toBe(bytes.buffer);
    }
  });

  it('does not depend on the order in which keys were set', () => {
    fc.assert(
      fc.property(fc.dictionary(textArb(8), fc.maxSafeInteger(), { noNullPrototype: true }), (map) => {
        const turned = Object.fromEntries(Object.entries(map).reverse());
        expect(encodeCanonical(turned)).toEqual(encodeCanonical(map));
      }),
    );
  });

  it('refuses every other encoding of the same value', () => {
    const cases: Record<string, number[]> = {
      'integer in two bytes': [0x18, 0x01],
      'integer as a float': [0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0],
      'negative zero': [0xfb, 0x80, 0, 0, 0, 0, 0, 0, 0],
      'half-precision float': [0xf9, 0x3e, 0x00],
      'length in two bytes': [0x58, 0x01, 0x00],
      'indefinite length': [0x9f, 0x01, 0xff],
      'keys out of order': [0xa2, 0x61, 0x62, 0x01, 0x61, 0x61, 0x02],
      'a key twice': [0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02],
      'text that is not UTF-8': [0x61, 0xff],
      'an integer key': [0xa1, 0x01, 0x01],
      undefined: [0xf7],
      NaN: [0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
      Infinity: [0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
      'a foreign tag': [0xc1, 0x01],
      'a link that is not a CID': [0xd8, 0x2a, 0x42, 0x00, 0x01],
      'a link of no bytes': [0xd8, 0x2a, 0xa0],
      'bytes after the end': [0x01, 0x01],
      'an end before its time': [0x82, 0x01],
      'nothing at all': [],
    };
    for (const [name, bytes] of Object.entries(cases)) {
      expect(
        codeOfThrown(() => decodeCanonical(new Uint8Array(bytes))),
        name,
      ).toBe('bad_request');
    }
  });

  it('refuses a map that poses as a CID object', () => {
    const multihash = { code: 0x12, size: 32, digest: new Uint8Array(32), bytes: new Uint8Array(34) };
    for (const disguise of [
      { '/': 'x', bytes: 'x' },
      { '/': 1, bytes: 1 },
      { '/': null, bytes: null },
      { '/': 'x', bytes: 'x', version: 1, code: 0x71, multihash },
    ]) {
      const bytes = cborg.encode(disguise, { float64: true });
      expect(['bad_request', 'nothing thrown']).toContain(codeOfThrown(() => linksOf(bytes)));
      expect(codeOfThrown(() => parseDocument(linkSchema, bytes))).toBe('bad_request');
    }
  });

  it('accepts the deepest nesting allowed and refuses one more', () => {
    expect(() => decodeCanonical(nested(limits.documentDepthMax))).not.toThrow();
    expect(codeOfThrown(() => decodeCanonical(nested(limits.documentDepthMax + 1)))).toBe('bad_request');
    expect(codeOfThrown(() => decodeCanonical(nested(limits.documentBytesMax - 1)))).toBe('bad_request');
  });

  it('counts depth, not size: many shallow siblings pass', () => {
    const wide = Array.from({ length: 2000 }, (_, i) => [{ a: [i] }]);
    expect(decodeCanonical(encodeCanonical(wide))).toEqual(wide);
  });

  it('refuses a byte over the limit before it parses', () => {
    const bytes = encodeCanonical(new Uint8Array(100));
    expect(() => decodeCanonical(bytes, bytes.length)).not.toThrow();
    expect(codeOfThrown(() => decodeCanonical(bytes, bytes.length - 1))).toBe('too_large');
    expect(codeOfThrown(() => decodeCanonical(new Uint8Array(limits.documentBytesMax + 1)))).toBe(
      'too_large',
    );
  });

  it('throws nothing but AtollError on random bytes, and accepts only what encodes back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        let value: unknown;
        try {
          value = decodeCanonical(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(AtollError);
          return;
        }
        expect(encodeCanonical(value)).toEqual(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  it('throws nothing but AtollError when a valid document is damaged', () => {
    const valid = fc
      .tuple(plainArb, cidArb)
      .map(([value, cid]) => encodeCanonical({ value, link: linkOf(cid) }));
    fc.assert(
      fc.property(valid, fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, where, flip) => {
        const damaged = bytes.slice();
        const at = where % damaged.length;
        damaged[at] = (damaged[at] as number) ^ flip;
        expect(['bad_request', 'nothing thrown']).toContain(codeOfThrown(() => linksOf(damaged)));
      }),
      { numRuns: 500 },
    );
  });
});

describe('links', () => {
  it('travel as tag 42 and come back as text', () => {
    fc.assert(
      fc.property(cidArb, (cid) => {
        expect(parseDocument(linkSchema, encodeCanonical(linkOf(cid)))).toBe(cid);
      }),
    );
  });

  it('are all found, once each, in document order', () => {
    fc.assert(
      fc.property(fc.array(cidArb, { maxLength: 8 }), (cids) => {
        const bytes = encodeCanonical({ a: cids.map(linkOf), b: { c: cids.map((cid) => [linkOf(cid)]) } });
        expect(linksOf(bytes)).toEqual([...new Set(cids)]);
      }),
    );
  });

  it('of another kind are refused', () => {
    // An identity multihash, and a sha2-256 one under the codec dag-pb.
    const identity = [0xd8, 0x2a, 0x46, 0x00, 0x01, 0x55, 0x00, 0x01, 0x61];
    const dagPb = [0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01, 0x70, 0x12, 0x20, ...Array<number>(32).fill(7)];
    for (const bytes of [identity, dagPb]) {
      expect(() => decodeCanonical(new Uint8Array(bytes))).not.toThrow();
      expect(codeOfThrown(() => parseDocument(linkSchema, new Uint8Array(bytes)))).toBe('bad_request');
    }
  });
});

describe('schemas', () => {
  const schema = v.strictObject({ a: v.number(), inner: v.strictObject({ b: v.string() }) });

  it('name the first fault and where it is', () => {
    try {
      parseValue(schema, { a: 1, inner: { b: 2 } });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: 'bad_request', details: { path: 'inner.b' } });
    }
  });

  it('with an id accept no key that they would drop', () => {
    const encode = (value: v.InferOutput<typeof schema>) => encodeCanonical(value);
    const good = { a: 1, inner: { b: 'x' } };
    expect(parseExact(schema, encodeCanonical(good), encode)).toEqual(good);
    for (const key of ['constructor', 'toString', 'prototype', 'valueOf', '__proto__', 'other']) {
      const surplus = Object.defineProperty({ ...good }, key, { value: 1, enumerable: true });
      expect(
        codeOfThrown(() => parseExact(schema, encodeCanonical(surplus), encode)),
        key,
      ).toBe('bad_request');
    }
  });

  it('compare bytes exactly', () => {
    expect(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 2]))).toBe(true);
    expect(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1, 3]))).toBe(false);
    expect(sameBytes(new Uint8Array([1, 2]), new Uint8Array([1]))).toBe(false);
  });
});
