/**
 * PF32 on one number: the arithmetic of NUMERICS.md as TypeScript, the reference every other twin must equal bit for bit.
 *
 * A value is a JS number that is exactly an f32, never NaN, infinite, -0 or below 2^-100 in size. `Math.fround` of a double product or sum of two
 * f32 is the correctly rounded f32 result (53 >= 2 * 24 + 2), so these are RNE operations followed by FL.
 */
const { fround } = Math;

/** 2^-100: anything smaller is zero. */
export const tiny = 2 ** -100;
/** Bits of 2^-100. */
export const tinyBits = 0x0d800000;
/** Every GEMM and residual result is clamped to this, so that overflow never happens. */
export const clampMax = 2 ** 40;

const scratch = new DataView(new ArrayBuffer(4));

/** The f32 with these bits. */
export function fromBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** The bits of an f32, as an unsigned integer. */
export function toBits(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

/** FL: sizes below 2^-100, and -0, become +0. */
export function fl(x: number): number {
  return x < tiny && x > -tiny ? 0 : x;
}

export function add(a: number, b: number): number {
  return fl(fround(a + b));
}

export function sub(a: number, b: number): number {
  return fl(fround(a - b));
}

export function mul(a: number, b: number): number {
  return fl(fround(a * b));
}

export function clamp(x: number): number {
  return x > clampMax ? clampMax : x < -clampMax ? -clampMax : x;
}

/** The nearest usable f32 of a decimal constant that a specification writes as a decimal. */
export function constant(x: number): number {
  return fl(fround(x));
}

const c = (...bits: number[]) => bits.map(fromBits);
function horner(coefficients: readonly number[], x: number): number {
  let r = coefficients[0] as number;
  for (let i = 1; i < coefficients.length; i++) r = add(mul(r, x), coefficients[i] as number);
  return r;
}

/** value * 2^n by its exponent field. The caller keeps the result in range. */
function scaleBits(value: number, n: number): number {
  return fromBits((toBits(value) + (n << 23)) >>> 0);
}

const log2e = fromBits(0x3fb8aa3b);
const ln2Hi = fromBits(0x3f318000);
const ln2Lo = fromBits(0xb95e8083);
const expP = c(0x3ab5731d, 0x3c093444, 0x3d2aac13, 0x3e2aaa0c, 0x3efffffe, 0x3f800000);

/** e^x for x clamped to +-68. Accuracy: 1.33 ulp. */
export function exp(x: number): number {
  const y = x > 68 ? 68 : x < -68 ? -68 : x;
  const n = Math.floor(add(mul(y, log2e), 0.5));
  const f = sub(sub(y, mul(n, ln2Hi)), mul(n, ln2Lo));
  return scaleBits(add(mul(horner(expP, f), f), 1), n);
}

const exp2P = c(0x3920fdde, 0x3aaf9f2a, 0x3c1d96a6, 0x3d635774, 0x3e75fdee, 0x3f317218);

/** 2^x for x clamped to +-99. Accuracy: 1.23 ulp. */
export function exp2(x: number): number {
  const y = x > 99 ? 99 : x < -99 ? -99 : x;
  const n = Math.floor(add(y, 0.5));
  const f = sub(y, n);
  return scaleBits(add(mul(horner(exp2P, f), f), 1), n);
}

/** 1 / x for x != 0. Accuracy: 1.14 ulp (decision 0006). */
export function recip(x: number): number {
  const u = toBits(x);
  const m = fromBits((u & 0x7fffff) | 0x3f800000);
  let y = fromBits(0x7ef311c7 - toBits(m));
  for (let i = 0; i < 3; i++) y = add(y, mul(y, sub(1, mul(m, y))));
  const bits = toBits(y) - ((((u >>> 23) & 255) - 127) << 23);
  return fl(fromBits(((bits & 0x7fffffff) | (u & 0x80000000)) >>> 0));
}

/** 1 / sqrt(a) for a > 0. Accuracy: 1.22 ulp. */
export function rsqrt(a: number): number {
  let y = fromBits(0x5f375a86 - (toBits(a) >>> 1));
  for (let i = 0; i < 2; i++) y = mul(y, sub(1.5, mul(0.5, mul(mul(a, y), y))));
  return add(y, mul(mul(0.5, y), sub(1, mul(mul(a, y), y))));
}

/** sqrt(x) for x >= 0; 0 for 0. Accuracy: 1.91 ulp. */
export function sqrt(x: number): number {
  return mul(x, rsqrt(x));
}

const lnP = c(
  0x3d8a2bd3,
  0xbdef1e0b,
  0x3df37835,
  0xbdfe1104,
  0x3e119bb4,
  0xbe2aae27,
  0x3e4cd25b,
  0xbe800003,
  0x3eaaaaa4,
);

/** Natural logarithm of x > 0. Accuracy: 0.82 ulp. */
export function ln(x: number): number {
  const u = toBits(x);
  const e = ((u | 0) - 0x3f3504f3) >> 23;
  const t = sub(fromBits((u - (e << 23)) >>> 0), 1);
  const z = mul(t, t);
  let y = mul(mul(horner(lnP, t), t), z);
  y = add(y, mul(e, ln2Lo));
  y = sub(y, mul(0.5, z));
  return add(add(t, y), mul(e, ln2Hi));
}

export function sigmoid(x: number): number {
  return recip(add(1, exp(-x)));
}

export function silu(x: number): number {
  return mul(x, sigmoid(x));
}

const tanhP = c(0xbbbaf0e7, 0x3ca9134e, 0xbd5c1e2d, 0x3e088393, 0xbeaaaa99);

/** Accuracy: 1.65 ulp. */
export function tanh(x: number): number {
  const a = x < 0 ? -x : x;
  if (a < 0.625) {
    const z = mul(x, x);
    return add(x, mul(mul(horner(tanhP, z), z), x));
  }
  const y = sub(1, mul(2, recip(add(1, exp(add(a, a))))));
  return x < 0 ? -y : y;
}

const erfP = c(0x38b0a2e1, 0xba55d2bb, 0x3baa796e, 0xbcdc09b6, 0x3de71726, 0xbec093a2);
const erfQ = c(
  0x37af66c3,
  0xb9e2a69d,
  0x3b8854ff,
  0xbccd8caa,
  0x3dddab27,
  0x3f2225a1,
  0x3f90934c,
  0xb932d5ed,
);
const erfOne = fromBits(0x3f906ebb);

/** Accuracy: 2.5 ulp. */
export function erf(x: number): number {
  const a = x < 0 ? -x : x;
  if (a < fromBits(0x3f6b851f)) {
    const z = mul(x, x);
    return mul(x, add(erfOne, mul(horner(erfP, z), z)));
  }
  const y = sub(1, exp(-horner(erfQ, a > 4 ? 4 : a)));
  return x < 0 ? -y : y;
}

/** A 32-bit hash with full avalanche: the only source of randomness in a workunit. */
export function lowbias32(seed: number): number {
  let x = seed | 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}
