/** Reference of int8 rows. Bytes are written through the words, so that the machine's byte order does not matter. */
import { add, clamp, fl, mul, sqrt, sub, tinyBits, toBits } from '../math/cpu.ts';
import { roundNearestEven } from '../quantize/cpu.ts';
import { qmaxOf, zeroExponent } from '../quantize/spec.ts';
import { packedWords } from './spec.ts';

type F = Float32Array;

function putByte(words: Uint32Array, i: number, value: number): void {
  const shift = 8 * (i & 3);
  words[i >> 2] = ((words[i >> 2] as number) & ~(255 << shift)) | ((value & 255) << shift);
}

function byteAt(words: Uint32Array, i: number): number {
  return ((words[i >> 2] as number) << (24 - 8 * (i & 3))) >> 24;
}

export function encodeRows(
  src: F,
  minus: F | null,
  root: boolean,
  codes: Uint32Array,
  exponents: Uint32Array,
  rows: number,
  cols: number,
): void {
  codes.fill(0, 0, packedWords(rows * cols));
  exponents.fill(0, 0, packedWords(rows));
  const row = new Uint32Array(cols);
  for (let r = 0; r < rows; r++) {
    let amax = 0;
    for (let c = 0; c < cols; c++) {
      const i = r * cols + c;
      const x = src[i] as number;
      const y = minus ? clamp(sub(x, minus[i] as number)) : root ? clamp(sqrt(x)) : x;
      row[c] = toBits(y);
      amax = Math.max(amax, (row[c] as number) & 0x7fffffff);
    }
    const isZero = amax < tinyBits;
    putByte(exponents, r, isZero ? zeroExponent : (amax >>> 23) - 126);
    if (isZero) continue;
    for (let c = 0; c < cols; c++) putByte(codes, r * cols + c, codeOf(row[c] as number, amax >>> 23));
  }
}

/** QUANT to 7 bits of one value, in a row whose largest has this exponent field. */
function codeOf(word: number, field: number): number {
  const size = word & 0x7fffffff;
  if (size < tinyBits) return 0;
  const q = roundNearestEven((size & 0x7fffff) | 0x800000, 17 + field - (size >>> 23));
  const code = Math.min(q, qmaxOf[7]);
  return word >>> 31 ? -code : code;
}

export interface DecodeOptions {
  halfStep: boolean;
  square: boolean;
  addTo: F | null;
}

export function decodeRows(
  codes: Uint32Array,
  exponents: Uint32Array,
  dst: F,
  rows: number,
  cols: number,
  { halfStep, square, addTo }: DecodeOptions,
): void {
  for (let r = 0; r < rows; r++) {
    const step = 2 ** (byteAt(exponents, r) - 7);
    for (let i = r * cols; i < (r + 1) * cols; i++) {
      const code = byteAt(codes, i);
      let value = fl((code === 0 && halfStep ? 0.5 : code) * step);
      if (square) value = mul(value, value);
      dst[i] = addTo ? clamp(add(addTo[i] as number, value)) : value;
    }
  }
}
