/**
 * Cosines and sines of rotary positions: angle(t, i) = t * theta^(-2 i / HD), as the nearest f32, the same bits on every engine.
 *
 * Math.sin and Math.pow are not portable, integers are: all is done in fixed point of 192 bits with BigInt. Series are cut below 2^-192 and every product
 * drops less than one unit, so after 4096 rotations the error is below 2^-170, and the bits depend on nothing but this file.
 */

const precision = 192n;
const one = 1n << precision;

const times = (a: bigint, b: bigint): bigint => (a * b) >> precision;

/** 2 atanh(a / b), 0 <= a / b <= 1/3: ln of (b + a) / (b - a). */
function twiceAtanh(a: bigint, b: bigint): bigint {
  const z = (a << precision) / b;
  const square = times(z, z);
  let sum = 0n;
  for (let power = z, n = 1n; power > 0n; power = times(power, square), n += 2n) sum += power / n;
  return 2n * sum;
}

const ln2 = twiceAtanh(1n, 3n);

/** Natural logarithm of an f32 >= 1. */
function ln(x: number): bigint {
  let exponent = 0;
  while (x >= 2) {
    x /= 2;
    exponent++;
  }
  const mantissa = BigInt(x * 2 ** 23);
  const unit = 1n << 23n;
  return twiceAtanh(mantissa - unit, mantissa + unit) + BigInt(exponent) * ln2;
}

/** e^-y for y >= 0. */
function expMinus(y: bigint): bigint {
  const halvings = y / ln2;
  const rest = y - halvings * ln2;
  let sum = 0n;
  for (let term = one, n = 1n; term !== 0n; term = -times(term, rest) / n, n++) sum += term;
  return sum >> halvings;
}

/** Sum of (-1)^k x^(2 k + first) / (2 k + first)!: sine (first = 1) or cosine (0) of 0 <= x <= 1. */
function series(x: bigint, first: 0 | 1): bigint {
  const square = times(x, x);
  let sum = 0n;
  let n = BigInt(first);
  for (let term = first === 1 ? x : one; term !== 0n; n += 2n) {
    sum += term;
    term = -times(term, square) / ((n + 1n) * (n + 2n));
  }
  return sum;
}

/** Nearest f32, ties to even; sizes below 2^-100 are 0 (PF32). */
function toFloat(x: bigint): number {
  const size = x < 0n ? -x : x;
  const bits = size.toString(2).length;
  const drop = BigInt(Math.max(0, bits - 24));
  const half = drop > 0n ? 1n << (drop - 1n) : 0n;
  let mantissa = size >> drop;
  const rest = size - (mantissa << drop);
  if (rest > half || (drop > 0n && rest === half && (mantissa & 1n) === 1n)) mantissa++;
  const value = Number(mantissa) * 2 ** (Number(drop) - Number(precision));
  return value < 2 ** -100 ? 0 : x < 0n ? -value : value;
}

export interface RotaryTable {
  /** [T][HD / 2]. */
  cos: Float32Array;
  sin: Float32Array;
}

/** Tables for positions 0 .. T - 1 of heads of HD channels. `theta` is an f32 above 1. */
export function rotaryTable(T: number, HD: number, theta: number): RotaryTable {
  const half = HD / 2;
  const table = { cos: new Float32Array(T * half), sin: new Float32Array(T * half) };
  const logarithm = ln(theta);
  for (let i = 0; i < half; i++) {
    const angle = expMinus((logarithm * BigInt(2 * i)) / BigInt(HD));
    const [c1, s1] = [series(angle, 0), series(angle, 1)];
    let [c, s] = [one, 0n];
    for (let t = 0; t < T; t++) {
      table.cos[t * half + i] = toFloat(c);
      table.sin[t * half + i] = toFloat(s);
      [c, s] = [times(c, c1) - times(s, s1), times(s, c1) + times(c, s1)];
    }
  }
  return table;
}
