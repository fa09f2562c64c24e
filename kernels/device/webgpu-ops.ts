/** Every op's passes on WebGPU. An op that is missing here does not compile. */
import { adamwPasses } from '../ops/adamw/gpu.ts';
import { softmaxGradPasses, softmaxPasses } from '../ops/attention/gpu.ts';
import { clipScalePasses, sumSquaresPasses } from '../ops/clip/gpu.ts';
import { columnSumPasses } from '../ops/column-sum/gpu.ts';
import { crossEntropyPasses } from '../ops/cross-entropy/gpu.ts';
import { elementwisePasses, nesterovPasses } from '../ops/elementwise/gpu.ts';
import { embedPasses, scatterAddPasses } from '../ops/embedding/gpu.ts';
import { geluGradPasses, geluPasses } from '../ops/gelu/gpu.ts';
import { gemmPasses } from '../ops/gemm/gpu.ts';
import { layerNormGradPasses, layerNormParamGradPasses, layerNormPasses } from '../ops/layer-norm/gpu.ts';
import { rmsNormGradPasses, rmsNormParamGradPasses, rmsNormPasses } from '../ops/rms-norm/gpu.ts';
import { rotaryPasses } from '../ops/rotary/gpu.ts';
import { swigluGradPasses, swigluPasses } from '../ops/swiglu/gpu.ts';
import {
  combineGradPasses,
  combinePasses,
  gatherRowsPasses,
  groupedGemmPasses,
  routeGradPasses,
  routePasses,
} from '../ops/moe/gpu.ts';
import { quantizePasses } from '../ops/quantize/gpu.ts';
import { sumPasses } from '../ops/reduce/gpu.ts';
import { decodeRowsPasses, encodeRowsPasses } from '../ops/rows/gpu.ts';
import { samplePasses } from '../ops/sample/gpu.ts';
import type { OpArgs } from './device.ts';
import type { PassBuilder } from './webgpu-pass.ts';

export const passBuilders: { [K in keyof OpArgs]: PassBuilder<OpArgs[K]> } = {
  quantize: quantizePasses,
  gemm: gemmPasses,
  layerNorm: layerNormPasses,
  layerNormGrad: layerNormGradPasses,
  layerNormParamGrad: layerNormParamGradPasses,
  rmsNorm: rmsNormPasses,
  rmsNormGrad: rmsNormGradPasses,
  rmsNormParamGrad: rmsNormParamGradPasses,
  rotary: rotaryPasses,
  swiglu: swigluPasses,
  swigluGrad: swigluGradPasses,
  gelu: geluPasses,
  geluGrad: geluGradPasses,
  softmax: softmaxPasses,
  softmaxGrad: softmaxGradPasses,
  crossEntropy: crossEntropyPasses,
  columnSum: columnSumPasses,
  embed: embedPasses,
  scatterAdd: scatterAddPasses,
  adamw: adamwPasses,
  elementwise: elementwisePasses,
  nesterov: nesterovPasses,
  sum: sumPasses,
  encodeRows: encodeRowsPasses,
  decodeRows: decodeRowsPasses,
  sumSquares: sumSquaresPasses,
  clipScale: clipScalePasses,
  sample: samplePasses,
  route: routePasses,
  routeGrad: routeGradPasses,
  gatherRows: gatherRowsPasses,
  combine: combinePasses,
  combineGrad: combineGradPasses,
  groupedGemm: groupedGemmPasses,
};
