/** Our keccak256 is that of @noble/hashes, over every length around the borders of its blocks. */
import { keccak_256 } from '@noble/hashes/sha3.js';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { keccak256 } from './keccak.ts';

test('the hash of every length up to three blocks', () => {
  for (let length = 0; length <= 3 * 136 + 1; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 151 + length) & 0xff);
    expect(keccak256(bytes), `${length} bytes`).toEqual(keccak_256(bytes));
  }
});

test('the hash of anything, on memory of its own', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.uint8Array({ maxLength: 200 }), (one, other) => {
      const first = keccak256(one);
      expect(keccak256(other)).toEqual(keccak_256(other));
      expect(first).toEqual(keccak_256(one));
    }),
  );
});
