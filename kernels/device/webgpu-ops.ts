/** Every op's passes on WebGPU. An op that is missing here does not compile. */
import { elementwisePasses, nesterovPasses } from '../ops/elementwise/gpu.ts';
import { gemmPasses } from '../ops/gemm/gpu.ts';
import { quantizePasses } from '../ops/quantize/gpu.ts';
import type { OpArgs } from './device.ts';
import type { PassBuilder } from './webgpu-pass.ts';

export const passBuilders: { [K in keyof OpArgs]: PassBuilder<OpArgs[K]> } = {
  quantize: quantizePasses,
  gemm: gemmPasses,
  elementwise: elementwisePasses,
  nesterov: nesterovPasses,
};
