/** Scratch operands by shape: ops run in order, so one buffer a role and shape serves every product of a step. */
import type { Device } from '../device/device.ts';
import type { Quantized } from '../tensor/tensor.ts';

/** The sides of a product; keys (as they are and transposed) and values, which live through a layer's attention. */
export type OperandRole = 'a' | 'b' | 'k' | 'kT' | 'v';

export class OperandPool {
  private readonly device: Device;
  private readonly operands = new Map<string, Quantized>();

  constructor(device: Device) {
    this.device = device;
  }

  /** An operand that is dead once what it is for is recorded. `role` keeps apart what lives at the same time. */
  take(role: OperandRole, batch: number, rows: number, cols: number, transposed = false): Quantized {
    const key = `${role} ${batch} ${rows} ${cols} ${transposed}`;
    let operand = this.operands.get(key);
    if (!operand) {
      operand = this.device.quantized(batch, rows, cols, transposed);
      this.operands.set(key, operand);
    }
    return operand;
  }
}
