/** The short way and the general codec never differ: what the short way takes, it takes and makes byte for byte as the codec does. */
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeCanonical, encodeWhole } from './cbor.ts';
import { decodeFlat, encodeFlat } from './flat-map.ts';

const edges = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -1, -0, 1.5, NaN];
const number = fc.oneof(fc.constantFrom(...edges), fc.nat(), fc.double());
const bytes = fc.uint8Array({ maxLength: 300 });
const text = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'grapheme', maxLength: 10 }),
  fc.constant('x'.repeat(600)),
);
const value = fc.oneof(text, number, bytes, fc.constantFrom(null, null, true, undefined, [1], { a: 1 }));
const key = fc.oneof(fc.constantFrom('t', 'v', '/', 'bytes', 'constructor', 'toString', '__proto__'), text);
const map = fc.dictionary(key, value, { maxKeys: 26, noNullPrototype: true });

function tried<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

it('encodes as the codec does, or not at all', () => {
  let taken = 0;
  fc.assert(
    fc.property(map, (entries) => {
      const flat = encodeFlat(entries);
      if (flat === null) return;
      taken++;
      expect(flat).toEqual(encodeWhole(entries));
    }),
    { numRuns: 2_000 },
  );
  expect(taken).toBeGreaterThan(100);
});

it('encodes what the ledger hashes: texts, nulls and times', () => {
  const columns = { seq: 1, job: null, unit: 'bafy', amount: '7', at: 1_785_000_000_000, most: 2 ** 53 - 1 };
  expect(encodeFlat(columns)).toEqual(encodeWhole(columns));
});

it('decodes what the codec decodes, to the same, or not at all', () => {
  const plain = fc.dictionary(
    fc.string({ maxLength: 9 }),
    fc.oneof(fc.string({ maxLength: 30 }), fc.nat(), bytes),
    {
      maxKeys: 8,
      noNullPrototype: true,
    },
  );
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 });
  let taken = 0;
  fc.assert(
    fc.property(fc.oneof(map, plain), damage, fc.nat(3), (entries, changes, cut) => {
      const encoded = tried(() => encodeWhole(entries));
      if (!encoded) return;
      for (const [at, byte] of changes) encoded[at % encoded.length] = byte;
      const wire = encoded.subarray(0, encoded.length - cut);
      const flat = decodeFlat(wire);
      if (flat === null) return;
      taken++;
      expect(flat).toEqual(decodeCanonical(wire));
    }),
    { numRuns: 5_000 },
  );
  expect(taken).toBeGreaterThan(100);
});

it('leaves other forms of one value to the codec', () => {
  const forms: Record<string, number[]> = {
    'a longer head': [0xa1, 0x61, 0x74, 0x18, 0x05],
    'two of one key': [0xa2, 0x61, 0x74, 0x01, 0x61, 0x74, 0x01],
    'keys out of order': [0xa2, 0x62, 0x61, 0x61, 0x01, 0x61, 0x74, 0x01],
    'a length without end': [0xbf, 0x61, 0x74, 0x01, 0xff],
    'something behind it': [0xa1, 0x61, 0x74, 0x01, 0x00],
    'a text that ends too soon': [0xa1, 0x61, 0x74, 0x65, 0x61],
    nothing: [],
  };
  for (const [name, form] of Object.entries(forms))
    expect(decodeFlat(Uint8Array.from(form)), name).toBeNull();
  expect(decodeFlat(Uint8Array.from([0xa1, 0x61, 0x74, 0x05]))).toEqual({ t: 5 });
});

it('decoded bytes are on memory of their own', () => {
  const wire = encodeWhole({ t: Uint8Array.of(1, 2, 3) });
  const decoded = decodeFlat(wire);
  wire.fill(0);
  expect(decoded).toEqual({ t: Uint8Array.of(1, 2, 3) });
});
