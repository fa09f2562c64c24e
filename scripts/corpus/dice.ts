/** Seeded integers for the generator: sfc32, the same on every machine. Source: PractRand's sfc32 by Chris Doty-Humphrey (public domain). */
import type { Dice } from './grammar.ts';

export function createDice(seed: number): Dice {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, seed | 0, 1];
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    c |= 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 16; i++) next();
  return {
    below(bound) {
      // Whatever lies past the last whole multiple of the bound is thrown away, so that every result is exactly as likely.
      const limit = 2 ** 32 - (2 ** 32 % bound);
      let value = next();
      while (value >= limit) value = next();
      return value % bound;
    },
  };
}
