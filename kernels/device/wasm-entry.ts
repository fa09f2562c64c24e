/**
 * What the WASM module exports: every op's kernels, compiled by scripts/build-wasm.ts. AssemblyScript, not TypeScript.
 *
 * A kernel computes part `part` of `parts` fixed shares of its work; the bits do not depend on how it is shared. Records and scratch are the host's.
 */
export { adamw } from '../ops/adamw/wasm';
export { softmax, softmaxGrad } from '../ops/attention/wasm';
export { fillConstants } from '../ops/constants/wasm';
export { crossEntropy } from '../ops/cross-entropy/wasm';
export {
  elementwiseAdd,
  elementwiseScale,
  elementwiseSqrt,
  elementwiseSub,
  nesterov,
} from '../ops/elementwise/wasm';
export { embed, scatterAdd } from '../ops/embedding/wasm';
export { gelu, geluGrad } from '../ops/gelu/wasm';
export { gemm } from '../ops/gemm/wasm';
export { layerNorm, layerNormGrad, layerNormParamGrad } from '../ops/layer-norm/wasm';
export { quantizeAcross, quantizeRows, quantizeScattered } from '../ops/quantize/wasm';
export { sum } from '../ops/reduce/wasm';
