/** Names of the functions of PF32 that can be called by themselves, for the conformance suite. */

/** In the order of functions.wgsl and functions.cu. `round` takes hi, lo16 and the exponent. */
export const functionNames = [
  'add',
  'sub',
  'mul',
  'exp',
  'exp2',
  'recip',
  'rsqrt',
  'sqrt',
  'ln',
  'sigmoid',
  'silu',
  'tanh',
  'erf',
  'lowbias32',
  'round',
] as const;
export type FunctionName = (typeof functionNames)[number];
