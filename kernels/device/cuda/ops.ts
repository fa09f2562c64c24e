/** Every op's launches on CUDA. An op that is missing here is refused when it is recorded. */
import { clipScaleLaunches, sumSquaresLaunches } from '../../ops/clip/cuda.ts';
import { crossEntropyLaunches } from '../../ops/cross-entropy/cuda.ts';
import { gemmLaunches } from '../../ops/gemm/cuda.ts';
import {
  combineGradLaunches,
  combineLaunches,
  gatherRowsLaunches,
  routeGradLaunches,
  routeLaunches,
} from '../../ops/moe/cuda.ts';
import { quantizeLaunches } from '../../ops/quantize/cuda.ts';
import { decodeRowsLaunches, encodeRowsLaunches } from '../../ops/rows/cuda.ts';
import { sampleLaunches } from '../../ops/sample/cuda.ts';
import type { OpArgs } from '../device.ts';
import type { LaunchBuilder } from './launch.ts';

export const launchBuilders: { [K in keyof OpArgs]?: LaunchBuilder<OpArgs[K]> } = {
  quantize: quantizeLaunches,
  gemm: gemmLaunches,
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
