/**
 * Whatever bytes arrive, a message is either parsed or refused with a reason that is the sender's: no crash, no endless work, no growth. Together with
 * `coordinator/routes/fuzz.test.ts` 100,000 cases and more; each test counts its own.
 */
import * as fc from 'fast-check';
import * as v from 'valibot';
import { afterAll, describe, expect, test } from 'vitest';
import { encodeCanonical } from '../codec/cbor.ts';
import { parseCid } from '../codec/cid.ts';
import { AtollError, errorCodes, problemSchema } from '../errors.ts';
import type { Endpoint } from '../http/endpoint.ts';
import { endpoints } from '../http/table.ts';
import {
  jobArb,
  fromContributorArbs,
  fromCoordinatorArbs,
  resultArb,
  workunitArb,
} from '../testing/arbitraries.ts';
import {
  decodeFromContributor,
  decodeFromCoordinator,
  encodeFrame,
  type FromContributor,
  type FromCoordinator,
} from './frames.ts';
import { decodeJob, encodeJob } from './job.ts';
import { decodeResult, decodeWorkunit, encodeResult, encodeWorkunit } from './workunit.ts';

const frames = (arbs: Readonly<Record<string, fc.Arbitrary<FromContributor | FromCoordinator>>>) =>
  fc.oneof(...Object.values(arbs));

/** Every kind of message: how a good one is made, and who reads it. */
const messages: { name: string; good: fc.Arbitrary<Uint8Array>; decode: (bytes: Uint8Array) => unknown }[] = [
  {
    name: 'from a contributor',
    good: frames(fromContributorArbs).map((frame) => encodeFrame(frame)),
    decode: decodeFromContributor,
  },
  {
    name: 'from a coordinator',
    good: frames(fromCoordinatorArbs).map((frame) => encodeFrame(frame)),
    decode: decodeFromCoordinator,
  },
  { name: 'job', good: jobArb.map(encodeJob), decode: decodeJob },
  { name: 'workunit', good: workunitArb.map(encodeWorkunit), decode: decodeWorkunit },
  { name: 'result', good: resultArb.map(encodeResult), decode: decodeResult },
];

let cases = 0;

/** Throws unless `decode` returns or refuses as it should. */
function tryDecode(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): boolean {
  cases++;
  try {
    decode(bytes);
    return true;
  } catch (error) {
    if (!(error instanceof AtollError)) throw error;
    if (errorCodes[error.code].status >= 500) throw error;
    expect(error.message.length).toBeLessThan(1_000);
    return false;
  }
}

/** A good message with some of it changed: bytes flipped, cut off, put in twice, or put in from elsewhere. */
function spoilt(good: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const change = fc.record({
    kind: fc.constantFrom('flip', 'cut', 'repeat', 'insert'),
    at: fc.nat(),
    length: fc.integer({ min: 1, max: 16 }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  });
  return fc.tuple(good, fc.array(change, { minLength: 1, maxLength: 4 })).map(([bytes, changes]) =>
    changes.reduce((before, { kind, at: place, length, bytes: more }) => {
      const at = place % (before.length + 1);
      if (kind === 'cut') return before.slice(0, at);
      if (kind === 'insert') return join(before.subarray(0, at), more, before.subarray(at));
      if (kind === 'repeat') return join(before.subarray(0, at + length), before.subarray(at));
      const flipped = before.slice();
      flipped.set(more.subarray(0, before.length - at), at);
      return flipped;
    }, bytes),
  );
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Any value that CBOR can hold, with the names that our messages use among its keys. */
const valueArb = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 20 }),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('any'), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof(
        fc.constantFrom(
          't',
          'v',
          'kind',
          'cid',
          'bytes',
          'unit',
          'outputs',
          'params',
          'seed',
          'constructor',
          '__proto__',
        ),
        fc.string({ maxLength: 8 }),
      ),
      tie('any'),
      { maxKeys: 5 },
    ),
  ),
})).any;

describe.each(messages)('$name', ({ good, decode }) => {
  test('takes what is good', () => {
    fc.assert(
      fc.property(good, (bytes) => tryDecode(decode, bytes)),
      { numRuns: 300 },
    );
  });
  test('refuses noise', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void tryDecode(decode, bytes)),
      { numRuns: 5_000 },
    );
  });
  test('takes or refuses what was spoilt', () => {
    fc.assert(
      fc.property(spoilt(good), (bytes) => void tryDecode(decode, bytes)),
      { numRuns: 2_500 },
    );
  });
  test('takes or refuses values of other shapes', () => {
    fc.assert(
      fc.property(valueArb, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = encodeCanonical(value);
        } catch {
          return;
        }
        tryDecode(decode, bytes);
      }),
      { numRuns: 2_500 },
    );
  });
  test('does not follow nesting without end, nor lengths that are not there', () => {
    for (const opener of [0x81, 0x9f, 0xa1, 0xbf, 0xd8, 0xc1]) {
      for (const depth of [100, 10_000, 1_000_000]) {
        expect(tryDecode(decode, new Uint8Array(depth).fill(opener))).toBe(false);
      }
    }
    for (const head of [0x5b, 0x7b, 0x9b, 0xbb]) {
      const claimed = new Uint8Array([head, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
      expect(tryDecode(decode, claimed)).toBe(false);
    }
  });
});

test('a CID is parsed or refused', () => {
  const parse = (text: string) => {
    cases++;
    try {
      return parseCid(text);
    } catch (error) {
      if (!(error instanceof AtollError) || error.code !== 'bad_request') throw error;
      return null;
    }
  };
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ maxLength: 80 }), fc.stringMatching(/^ba[a-z2-7]{50,60}$/)),
      (text) => void parse(text),
    ),
    { numRuns: 5_000 },
  );
});

describe('JSON bodies and answers', () => {
  const schemas = Object.values(endpoints).flatMap(({ body, answer }: Endpoint) => [
    ...(body?.type === 'json' ? [body.schema] : []),
    ...(answer.type === 'json' ? [answer.schema] : []),
  ]);
  test.each([problemSchema, ...schemas].map((schema, i) => [i, schema] as const))(
    'schema %i takes or refuses any value',
    (_, schema) => {
      fc.assert(
        fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
          cases++;
          expect(typeof v.safeParse(schema, value).success).toBe('boolean');
        }),
        { numRuns: 500 },
      );
    },
  );
});

afterAll(() => expect(cases).toBeGreaterThan(60_000));
