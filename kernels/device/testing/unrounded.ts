/**
 * The reference with products of f32 values that are not quantised: what training would do without our integers. For tests that ask what a policy costs.
 *
 * QUANT keeps every value whole (mantissas are doubles that are no integers); sums are doubles, rounded to f32 once. All else is the reference.
 */
import type { QuantizeArgs } from '../../ops/quantize/spec.ts';
import type { ScatterAddArgs } from '../../ops/embedding/spec.ts';
import { round } from '../../ops/gemm/cpu.ts';
import { add, clamp, fromBits, mul } from '../../ops/math/cpu.ts';
import { zeroExponent } from '../../ops/quantize/spec.ts';
import { type CpuOperand, createCpuDevice, words } from '../cpu.ts';
import type { Device } from '../device.ts';

export function createUnroundedDevice(): Device {
  return createCpuDevice({
    quantize: (args) => () => keep(args),
    scatterAdd: (args) => () => scatterAdd(args),
  });
}

/** The largest value has an exponent as in QUANT, so that the product's own scaling holds. */
function keep({ src, dst, nb, foldScale }: QuantizeArgs): void {
  const from = new Float32Array(words(src.tensor).buffer);
  const to = dst as CpuOperand;
  const [n0, s0, n1, s1] = src.batch;
  const { rows, cols } = src;
  const row = new Float64Array(cols);
  for (let batch = 0; batch < n0 * n1; batch++) {
    for (let r = 0; r < rows; r++) {
      const base = src.offset + Math.floor(batch / n1) * s0 + (batch % n1) * s1 + r * src.rowStride;
      let amax = 0;
      for (let c = 0; c < cols; c++) {
        let value = from[base + c * src.colStride] as number;
        if (foldScale) value = mul(value, fold(foldScale as CpuOperand, batch, c, nb));
        row[c] = value;
        amax = Math.max(amax, Math.abs(value));
      }
      const exponent = amax === 0 ? zeroExponent : Math.floor(Math.log2(amax)) + 1;
      to.exponents[batch * rows + r] = exponent;
      const scale = 2 ** (nb - exponent);
      const [out, stride] = dst.transposed ? [batch * rows * cols + r, rows] : [(batch * rows + r) * cols, 1];
      for (let c = 0; c < cols; c++) to.mantissas[out + c * stride] = (row[c] as number) * scale;
    }
  }
}

function fold(operand: CpuOperand, batch: number, column: number, nb: number): number {
  const exponent = operand.exponents[batch * operand.rows + column] as number;
  return fromBits((exponent - nb + 127) << 23);
}

function scatterAdd({ q, indices, dst, nb, accumulate }: ScatterAddArgs): void {
  const operand = q as CpuOperand;
  const [at, out] = [words(indices), new Float32Array(words(dst).buffer)];
  const sums = new Float64Array(out.length);
  for (let c = 0; c < q.rows; c++) {
    for (let m = 0; m < q.cols; m++) {
      const to = (at[m] as number) * q.rows + c;
      sums[to] = (sums[to] as number) + (operand.mantissas[c * q.cols + m] as number);
    }
  }
  for (let i = 0; i < out.length; i++) {
    const value = round(sums[i] as number, (operand.exponents[i % q.rows] as number) - nb);
    out[i] = accumulate ? clamp(add(out[i] as number, value)) : value;
  }
}
