/** The quick reader of results reads what the general codec reads, and nothing that the general codec refuses. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { resultArb } from '../testing/arbitraries.ts';
import { decodePlainResult } from './plain-result.ts';
import { decodeAnyResult, encodeResult } from './workunit.ts';

test('documents as they are written', () => {
  let plain = 0;
  fc.assert(
    fc.property(resultArb, (result) => {
      const bytes = encodeResult(result);
      const read = decodePlainResult(bytes);
      if (read) plain += 1;
      expect(read ?? result).toEqual(result);
      expect(decodeAnyResult(bytes)).toEqual(result);
    }),
  );
  expect(plain).toBeGreaterThan(10);
});

/** A byte changed, left out or put in, anywhere. */
const fault = fc.record({
  at: fc.nat(400),
  kind: fc.constantFrom('flip' as const, 'cut' as const, 'add' as const),
  byte: fc.nat(255),
});

test('documents that are something else', () => {
  let read = 0;
  fc.assert(
    fc.property(resultArb, fault, (result, { at, kind, byte }) => {
      const bytes = [...encodeResult(result)];
      const place = at % bytes.length;
      if (kind === 'flip') bytes[place] = byte;
      else if (kind === 'cut') bytes.splice(place, 1);
      else bytes.splice(place, 0, byte);
      const mangled = Uint8Array.from(bytes);
      const plain = decodePlainResult(mangled);
      if (!plain) return;
      read += 1;
      expect(decodeAnyResult(mangled)).toEqual(plain);
    }),
    { numRuns: 2_000 },
  );
  expect(read).toBeGreaterThan(10);
});
