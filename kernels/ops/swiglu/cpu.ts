/** Reference of SiLU and SwiGLU, forward and backward. */
import type { View } from '../../tensor/tensor.ts';
import { add, clamp, mul, sigmoid, silu as siluOf, sub } from '../math/cpu.ts';

/** y = silu(x). */
export function silu(x: Float32Array, y: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) y[i] = siluOf(x[i] as number);
}

/** d silu / dx. */
export function siluSlope(x: number): number {
  const s = sigmoid(x);
  return mul(s, add(1, mul(x, sub(1, s))));
}

export function siluGrad(x: Float32Array, dy: Float32Array, dx: Float32Array, size: number): void {
  for (let i = 0; i < size; i++) dx[i] = mul(dy[i] as number, siluSlope(x[i] as number));
}

/** A view and the words it looks at. */
export interface Rows {
  data: Float32Array;
  view: View;
}

const at = ({ view }: Rows, r: number, c: number) => view.offset + r * view.rowStride + c;

export function swiglu(gate: Rows, up: Rows, y: Float32Array): void {
  const { rows, cols } = gate.view;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const a = siluOf(gate.data[at(gate, r, c)] as number);
      y[r * cols + c] = clamp(mul(a, up.data[at(up, r, c)] as number));
    }
  }
}

export function swigluGrad(gate: Rows, up: Rows, dy: Float32Array, dgate: Rows, dup: Rows): void {
  const { rows, cols } = gate.view;
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const g = gate.data[at(gate, r, c)] as number;
      const d = dy[r * cols + c] as number;
      dgate.data[at(dgate, r, c)] = clamp(mul(mul(d, up.data[at(up, r, c)] as number), siluSlope(g)));
      dup.data[at(dup, r, c)] = clamp(mul(d, siluOf(g)));
    }
  }
}
