/** Reference of the gradient's norm and the clipping factor. */
import { mul, recip, sqrt } from '../math/cpu.ts';
import { sum } from '../reduce/cpu.ts';

export function sumSquares(src: Float32Array, count: number): number {
  const blocks = new Float32Array(Math.ceil(count / 4096));
  const squares = new Float32Array(4096);
  for (let b = 0; b < blocks.length; b++) {
    const from = b * 4096;
    const length = Math.min(4096, count - from);
    for (let i = 0; i < length; i++) {
      const x = src[from + i] as number;
      squares[i] = mul(x, x);
    }
    blocks[b] = sum(squares, 0, length);
  }
  return sum(blocks, 0, blocks.length);
}

export function clipScale(partials: Float32Array, count: number, max: number): number {
  const norm = sqrt(sum(partials, 0, count));
  return norm > max ? mul(max, recip(norm)) : 1;
}
