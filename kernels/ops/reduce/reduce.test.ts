/** The order of a sum is part of its definition: lanes, tree, blocks. */
import { describe, expect, it } from 'vitest';
import { add } from '../math/cpu.ts';
import { sum } from './cpu.ts';

const values = Float32Array.from({ length: 9000 }, (_, i) => Math.fround(Math.sin(i) * 10 ** (i % 7)));

/** The definition, written a second way: recursion over the tree of lanes. */
function definition(xs: readonly number[]): number {
  if (xs.length > 4096) {
    const partials: number[] = [];
    for (let i = 0; i < xs.length; i += 4096) partials.push(definition(xs.slice(i, i + 4096)));
    return definition(partials);
  }
  const lane = (j: number) => xs.filter((_, i) => i % 64 === j).reduce((acc, x) => add(acc, x), 0);
  const tree = (j: number, stride: number): number =>
    stride === 64 ? lane(j) : add(tree(j, stride * 2), tree(j + stride, stride * 2));
  return tree(0, 1);
}

describe('sum', () => {
  it.each([1, 2, 63, 64, 65, 127, 4095, 4096, 4097, 8192, 9000])('of %i values', (count) => {
    expect(sum(values, 0, count)).toBe(definition([...values.subarray(0, count)]));
  });

  it('takes strided columns', () => {
    const column = Array.from({ length: 90 }, (_, i) => values[3 + 100 * i] as number);
    expect(sum(values, 3, 90, 100)).toBe(definition(column));
  });
});
