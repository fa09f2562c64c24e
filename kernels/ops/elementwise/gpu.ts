/** Elementwise operations and the Nesterov step on WebGPU. */
import type { Kernel, Pass } from '../../device/webgpu-pass.ts';
import { bitsOf, distinct, kernel } from '../../device/webgpu-pass.ts';
import elementwise from './elementwise.wgsl?raw';
import nesterov from './nesterov.wgsl?raw';
import type { ElementwiseArgs, NesterovArgs } from './spec.ts';

const elementwiseKernel: Kernel = kernel('elementwise', elementwise, 'rrw');
const nesterovKernel: Kernel = kernel('nesterov', nesterov, 'wwr');
const kinds = { add: 0, sub: 1, scale: 2, sqrt: 3 } as const;

export function elementwisePasses(args: ElementwiseArgs): Pass[] {
  const { dst, a, size } = args;
  const b = 'b' in args ? args.b : null;
  const factor = 'factor' in args ? bitsOf(args.factor) : 0;
  return [
    {
      kernel: elementwiseKernel,
      buffers: [a === dst ? null : a, b === dst ? null : b, dst],
      uniforms: [size, factor, kinds[args.kind], a === dst ? 1 : 0, b === dst ? 1 : 0],
      workgroups: Math.ceil(size / 256),
    },
  ];
}

export function nesterovPasses({ p, momentum, delta, size, lr, mu }: NesterovArgs): Pass[] {
  distinct('nesterov', [p, momentum], [delta]);
  return [
    {
      kernel: nesterovKernel,
      buffers: [p, momentum, delta],
      uniforms: [size, bitsOf(lr), bitsOf(mu)],
      workgroups: Math.ceil(size / 256),
    },
  ];
}
