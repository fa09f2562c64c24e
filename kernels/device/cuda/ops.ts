/** Every op's launches on CUDA. An op that is missing here does not compile. */
import { adamwLaunches } from '../../ops/adamw/cuda.ts';
import { softmaxGradLaunches, softmaxLaunches } from '../../ops/attention/cuda.ts';
import { columnSumLaunches } from '../../ops/column-sum/cuda.ts';
import { elementwiseLaunches, nesterovLaunches } from '../../ops/elementwise/cuda.ts';
import { geluGradLaunches, geluLaunches } from '../../ops/gelu/cuda.ts';
import {
  layerNormGradLaunches,
  layerNormLaunches,
  layerNormParamGradLaunches,
} from '../../ops/layer-norm/cuda.ts';
import { rmsNormGradLaunches, rmsNormLaunches, rmsNormParamGradLaunches } from '../../ops/rms-norm/cuda.ts';
import { rotaryLaunches } from '../../ops/rotary/cuda.ts';
import { swigluGradLaunches, swigluLaunches } from '../../ops/swiglu/cuda.ts';
import { sumLaunches } from '../../ops/reduce/cuda.ts';
import { clipScaleLaunches, sumSquaresLaunches } from '../../ops/clip/cuda.ts';
import { crossEntropyLaunches } from '../../ops/cross-entropy/cuda.ts';
import { embedLaunches, scatterAddLaunches } from '../../ops/embedding/cuda.ts';
import { gemmLaunches } from '../../ops/gemm/cuda.ts';
import {
  combineGradLaunches,
  combineLaunches,
  gatherRowsLaunches,
  routeGradLaunches,
  routeLaunches,
} from '../../ops/moe/cuda.ts';
import { groupedGemmLaunches } from '../../ops/moe/grouped-cuda.ts';
import { quantizeLaunches } from '../../ops/quantize/cuda.ts';
import { decodeRowsLaunches, encodeRowsLaunches } from '../../ops/rows/cuda.ts';
import { sampleLaunches } from '../../ops/sample/cuda.ts';
import type { OpArgs } from '../device.ts';
import type { LaunchBuilder } from './launch.ts';

export const launchBuilders: { [K in keyof OpArgs]: LaunchBuilder<OpArgs[K]> } = {
  quantize: quantizeLaunches,
  gemm: gemmLaunches,
  layerNorm: layerNormLaunches,
  layerNormGrad: layerNormGradLaunches,
  layerNormParamGrad: layerNormParamGradLaunches,
  rmsNorm: rmsNormLaunches,
  rmsNormGrad: rmsNormGradLaunches,
  rmsNormParamGrad: rmsNormParamGradLaunches,
  gelu: geluLaunches,
  geluGrad: geluGradLaunches,
  swiglu: swigluLaunches,
  swigluGrad: swigluGradLaunches,
  rotary: rotaryLaunches,
  softmax: softmaxLaunches,
  softmaxGrad: softmaxGradLaunches,
  columnSum: columnSumLaunches,
  adamw: adamwLaunches,
  elementwise: elementwiseLaunches,
  nesterov: nesterovLaunches,
  sum: sumLaunches,
  embed: embedLaunches,
  scatterAdd: scatterAddLaunches,
  groupedGemm: groupedGemmLaunches,
  crossEntropy: crossEntropyLaunches,
  route: routeLaunches,
  routeGrad: routeGradLaunches,
  gatherRows: gatherRowsLaunches,
  combine: combineLaunches,
  combineGrad: combineGradLaunches,
  sumSquares: sumSquaresLaunches,
  clipScale: clipScaleLaunches,
  encodeRows: encodeRowsLaunches,
  decodeRows: decodeRowsLaunches,
  sample: sampleLaunches,
};
