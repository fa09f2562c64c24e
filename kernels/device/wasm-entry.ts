/**
 * What the WASM module exports: every op's kernels, compiled by scripts/build-wasm.ts. AssemblyScript, not TypeScript.
 *
 * A kernel computes part `part` of `parts` fixed shares of its work; the bits do not depend on how it is shared. Records and scratch are the host's.
 */
export { adamw } from '../ops/adamw/wasm.ts';
export { softmax, softmaxGrad } from '../ops/attention/wasm.ts';
export { clipScale, squareBlocks } from '../ops/clip/wasm.ts';
export { columnSum } from '../ops/column-sum/wasm.ts';
export { fillConstants, peek } from '../ops/constants/wasm.ts';
export { crossEntropy } from '../ops/cross-entropy/wasm.ts';
export {
  elementwiseAdd,
  elementwiseScale,
  elementwiseSqrt,
  elementwiseSub,
  nesterov,
} from '../ops/elementwise/wasm.ts';
export { embed, scatterAdd } from '../ops/embedding/wasm.ts';
export { gelu, geluGrad } from '../ops/gelu/wasm.ts';
export { gemm } from '../ops/gemm/wasm.ts';
export { layerNorm, layerNormGrad, layerNormParamGrad } from '../ops/layer-norm/wasm.ts';
export { groupedContraction, groupedRows } from '../ops/moe/grouped/wasm.ts';
export { combine, combineGrad, gatherRows, routeGrad, routeSlots, routeTokens } from '../ops/moe/wasm.ts';
export { quantizeAcross, quantizeRows, quantizeScattered } from '../ops/quantize/wasm.ts';
export { rmsNorm, rmsNormGrad, rmsNormParamGrad } from '../ops/rms-norm/wasm.ts';
export { rotary } from '../ops/rotary/wasm.ts';
export { swiglu, swigluGrad } from '../ops/swiglu/wasm.ts';
export { sum } from '../ops/reduce/wasm.ts';
export { sample } from '../ops/sample/wasm.ts';
export { decodeRows, encodeRows } from '../ops/rows/wasm.ts';
