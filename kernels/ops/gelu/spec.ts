/**
 * GELU with tanh, as GPT-2 has it: y = (x/2) * (1 + tanh(k0 * (x + k1 * x^3))), in PF32 in this order of operations:
 * u = k0 * (x + k1 * ((x * x) * x)); t = tanh(u); y = (0.5 * x) * (1 + t);
 * dy/dx = 0.5 * (1 + t) + ((0.5 * x) * (1 - t * t)) * (k0 * (1 + k3 * (x * x))); dx = dy * dy/dx.
 */
import { checkSizes, checkTensors } from '../../tensor/check.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { fromBits } from '../math/cpu.ts';

/** sqrt(2 / pi), 0.044715 and 3 * 0.044715 as f32. */
export const geluK0 = fromBits(0x3f4c422a);
export const geluK1 = fromBits(0x3d372713);
export const geluK3 = fromBits(0x3e095d4f);

export interface GeluArgs {
  x: Tensor;
  y: Tensor;
  size: number;
}

export interface GeluGradArgs {
  x: Tensor;
  dy: Tensor;
  /** May be `dy` itself. */
  dx: Tensor;
  size: number;
}

/** Throws `bad_input` when the shapes do not fit; so does the one below. */
export function checkGelu({ x, y, size }: GeluArgs): void {
  checkSizes('gelu', { size });
  checkTensors('gelu', { x: [x, size], y: [y, size] });
}

export function checkGeluGrad({ x, dy, dx, size }: GeluGradArgs): void {
  checkSizes('geluGrad', { size });
  checkTensors('geluGrad', { x: [x, size], dy: [dy, size], dx: [dx, size] });
}
