/** QUANT on WebGPU: how rows are spread over invocations, and the kernel's uniforms. */
import type { GpuOperand, Kernel, Pass, PassContext } from '../../device/webgpu-pass.ts';
import { distinct, kernel, viewWords } from '../../device/webgpu-pass.ts';
import directBody from './quantize-direct.wgsl?raw';
import view from './quantize-view.wgsl?raw';
import body from './quantize.wgsl?raw';
import { dstRowOf, qmaxOf, type QuantizeArgs } from './spec.ts';

const quantizeKernel: Kernel = kernel('quantize', `${view}\n${body}`, 'rrrrww');
const directKernel: Kernel = kernel('quantize-direct', `${view}\n${directBody}`, 'rrrrww');

/** Longest row that one invocation walks: far fewer steps than the 65,535 after which Mesa's lavapipe silently ends a shader's loops. */
const directMax = 16_384;

export function quantizePasses(args: QuantizeArgs, context: PassContext): Pass[] {
  const { src, nb, stochastic } = args;
  const { row, tensor: position } = dstRowOf(args);
  const dst = args.dst as GpuOperand;
  const fold = args.foldScale?.exponents ?? null;
  const scalars = stochastic?.scalars ?? null;
  distinct('quantize', [dst.mantissas, dst.exponents], [src.tensor, fold, scalars, position]);
  const total = dst.batch * src.rows;
  const direct = context.software && context.f32 && src.cols <= directMax;
  const shape = workgroupShape(args);
  const [outRow, outCol] = dst.transposed ? [1, dst.stride] : [dst.stride, 1];
  return [
    {
      kernel: direct ? directKernel : quantizeKernel,
      constants: direct ? { STOCHASTIC: stochastic ? 1 : 0, FOLD: fold ? 1 : 0 } : shape,
      buffers: [src.tensor, fold, scalars, position, dst.mantissas, dst.exponents],
      uniforms: [
        ...viewWords(src),
        src.rows,
        src.cols,
        total,
        qmaxOf[nb],
        dst.lines * dst.stride,
        outRow,
        outCol,
        nb,
        stochastic ? 1 : 0,
        stochastic?.site ?? 0,
        args.foldScale?.rows ?? 0,
        dst.rows,
        row,
        position ? 1 : 0,
      ],
      workgroups: Math.ceil(total / (direct ? 16 : shape.ROWS)),
    },
  ];
}

/** Lanes run along what is contiguous in memory: the columns, or the rows of a transposed view. */
function workgroupShape({ src }: QuantizeArgs): { ROWS: number; LANES: number } {
  if (src.colStride === 1) return { ROWS: 1, LANES: 64 };
  return { ROWS: 16, LANES: 16 };
}
