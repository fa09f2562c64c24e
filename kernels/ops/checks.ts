/**
 * What every backend asks before it records an op: do the shapes fit? One table, so that no backend can forget one; each check lies in its op's spec.ts and
 * throws `bad_input`. What only one backend minds (a tensor that is both read and written) it says itself.
 */
import type { OpArgs, OpName } from '../device/device.ts';
import { checkAdamw } from './adamw/spec.ts';
import { checkSoftmax } from './attention/spec.ts';
import { checkClipScale, checkSumSquares } from './clip/spec.ts';
import { checkColumnSum } from './column-sum/spec.ts';
import { checkCrossEntropy } from './cross-entropy/spec.ts';
import { checkElementwise, checkNesterov, checkSum } from './elementwise/spec.ts';
import { checkEmbed, checkScatterAdd } from './embedding/spec.ts';
import { checkGelu, checkGeluGrad } from './gelu/spec.ts';
import { checkGemm } from './gemm/spec.ts';
import { checkLayerNorm, checkLayerNormGrad, checkLayerNormParamGrad } from './layer-norm/spec.ts';
import {
  checkCombine,
  checkCombineGrad,
  checkGatherRows,
  checkGroupedGemm,
  checkRoute,
  checkRouteGrad,
} from './moe/spec.ts';
import { checkQuantize } from './quantize/spec.ts';
import { checkRmsNorm } from './rms-norm/spec.ts';
import { checkRotary } from './rotary/spec.ts';
import { checkDecodeRows, checkEncodeRows } from './rows/spec.ts';
import { checkSample } from './sample/spec.ts';
import { checkSwiglu } from './swiglu/spec.ts';

const checks: { readonly [K in OpName]: (args: OpArgs[K]) => void } = {
  quantize: checkQuantize,
  gemm: checkGemm,
  layerNorm: checkLayerNorm,
  layerNormGrad: checkLayerNormGrad,
  layerNormParamGrad: checkLayerNormParamGrad,
  rmsNorm: (a) => checkRmsNorm(a, [a.x, a.y], [a.rstd], [a.gain]),
  rmsNormGrad: (a) => checkRmsNorm(a, [a.dy, a.x, a.residual, a.dx], [a.rstd], [a.gain]),
  rmsNormParamGrad: (a) => checkRmsNorm(a, [a.dy, a.x], [a.rstd], [a.dgain]),
  gelu: checkGelu,
  geluGrad: checkGeluGrad,
  swiglu: (a) => checkSwiglu(a, [], a.y),
  swigluGrad: (a) => checkSwiglu(a, [a.dgate, a.dup], a.dy),
  rotary: checkRotary,
  softmax: (a) => checkSoftmax(a, a.scores),
  softmaxGrad: (a) => checkSoftmax(a, a.probabilities, a.gradient),
  crossEntropy: checkCrossEntropy,
  columnSum: checkColumnSum,
  embed: checkEmbed,
  scatterAdd: checkScatterAdd,
  adamw: checkAdamw,
  elementwise: checkElementwise,
  nesterov: checkNesterov,
  sum: checkSum,
  encodeRows: checkEncodeRows,
  decodeRows: checkDecodeRows,
  sumSquares: checkSumSquares,
  clipScale: checkClipScale,
  sample: checkSample,
  route: checkRoute,
  routeGrad: checkRouteGrad,
  gatherRows: checkGatherRows,
  combine: checkCombine,
  combineGrad: checkCombineGrad,
  groupedGemm: checkGroupedGemm,
};

/** Throws `bad_input` when an op cannot be done on these arguments. */
export function checkOp<K extends OpName>(name: K, args: OpArgs[K]): void {
  checks[name](args);
}
