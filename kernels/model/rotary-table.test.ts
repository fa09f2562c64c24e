/** Rotary tables against Math in f64, and bits that must never change. */
import { describe, expect, it } from 'vitest';
import { digestWords } from '../vectors/digest.ts';
import { rotaryTable } from './rotary-table.ts';

const words = ({ buffer, byteOffset, length }: Float32Array) => new Uint32Array(buffer, byteOffset, length);

describe('rotary tables', () => {
  it.each([
    [4096, 64, 10_000],
    [300, 128, 500_000],
    [9, 2, 1.5],
  ])('for %i positions, HD = %i and theta = %f are the nearest f32', (T, HD, theta) => {
    const { cos, sin } = rotaryTable(T, HD, theta);
    let worst = 0;
    for (let i = 0; i < cos.length; i++) {
      const angle = Math.floor(i / (HD / 2)) * theta ** ((-2 * (i % (HD / 2))) / HD);
      const error = (got: number, exact: number) =>
        Math.abs(got - exact) / 2 ** Math.floor(Math.log2(Math.abs(exact) || 1));
      worst = Math.max(worst, error(cos[i] as number, Math.cos(angle)));
      if (angle > 0) worst = Math.max(worst, error(sin[i] as number, Math.sin(angle)));
    }
    // Half a unit in the last place, and what f64's own rounding of large angles adds near a zero.
    expect(worst).toBeLessThan(2 ** -24 * 1.01);
  });

  it('begin with no turn', () => {
    const { cos, sin } = rotaryTable(2, 8, 10_000);
    expect([...cos.subarray(0, 4)]).toEqual([1, 1, 1, 1]);
    expect([...sin.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
  });

  it('are these bits', () => {
    const { cos, sin } = rotaryTable(1024, 64, 10_000);
    expect([digestWords(words(cos)), digestWords(words(sin))]).toMatchInlineSnapshot(`
      [
        "a88a314dacf7373929ad41997eb00d6a583c2c42548827558190f40e6f3f9a1e",
        "902eb7b0ae127c2c4bc97ba2efe92613ef355e0720ff8573321a5e596c2a5312",
      ]
    `);
  });
});
