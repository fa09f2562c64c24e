/** SwiGLU on CUDA, forward and backward. */
import { distinct, type Launch, type LaunchContext } from '../../device/cuda/launch.ts';
import type { View } from '../../tensor/tensor.ts';
import { cudaSource, entryOf, quadGrid, quads } from '../math/cuda.ts';
import silu from './silu.cuh?raw';
import type { SwigluArgs, SwigluGradArgs } from './spec.ts';
import body from './swiglu.cu?raw';

export const swigluSource = cudaSource('swiglu', silu, body);
const forwardKernel = entryOf(swigluSource, 'swiglu');
const gradKernel = entryOf(swigluSource, 'swiglu_grad');

const placesOf = (views: readonly View[]) => views.flatMap(({ offset, rowStride }) => [offset, rowStride]);

/** Elements of a row that a thread takes at once. */
const widthOf = (cols: number, places: readonly number[]) => (quads(cols, ...places) ? 4 : 1);

/** A thread for each `width` elements. */
function gridOf(size: number, width: number, context: LaunchContext): Pick<Launch, 'grid' | 'block'> {
  return quadGrid((4 * size) / width, context);
}

export function swigluLaunches(args: SwigluArgs, context: LaunchContext): Launch[] {
  const { gate, up, y } = args;
  const { rows, cols } = gate;
  distinct('swiglu', [y], [gate.tensor, up.tensor]);
  const places = placesOf([gate, up]);
  const width = widthOf(cols, places);
  const words = [rows, cols, ...places, width];
  return [
    {
      kernel: forwardKernel,
      args: [gate.tensor, up.tensor, y, ...words],
      ...gridOf(rows * cols, width, context),
    },
  ];
}

export function swigluGradLaunches(args: SwigluGradArgs, context: LaunchContext): Launch[] {
  const { gate, up, dy, dgate, dup } = args;
  const { rows, cols } = gate;
  const outputs = dgate.tensor === dup.tensor ? [dgate.tensor] : [dgate.tensor, dup.tensor];
  distinct('swigluGrad', outputs, [gate.tensor, up.tensor, dy]);
  const places = placesOf([gate, up, dgate, dup]);
  const width = widthOf(cols, places);
  const words = [rows, cols, ...places, width];
  return [
    {
      kernel: gradKernel,
      args: [gate.tensor, up.tensor, dy, dgate.tensor, dup.tensor, ...words],
      ...gridOf(rows * cols, width, context),
    },
  ];
}
