/**
 * int8 rows: one byte a parameter and one exponent byte a row. Weight deltas and Adam's moments travel and are kept this way.
 *
 * Layout: the codes of all parameters in layout order, then the exponents of all rows. value = code * 2^(exponent - 7), exact.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Device } from '../device/device.ts';
import { fl, mul } from '../ops/math/cpu.ts';
import { zeroExponent } from '../ops/quantize/spec.ts';
import { matrix, type Quantized, type Tensor } from '../tensor/tensor.ts';
import type { ParameterSpec } from './layout.ts';

export interface Rows {
  codes: Int8Array;
  exponents: Int8Array;
}

export function rowCount(layout: readonly ParameterSpec[]): number {
  return layout.reduce((rows, parameter) => rows + parameter.rows, 0);
}

export function elementCount(layout: readonly ParameterSpec[]): number {
  return layout.reduce((size, { rows, cols }) => size + rows * cols, 0);
}

export function zeroRows(layout: readonly ParameterSpec[]): Rows {
  return {
    codes: new Int8Array(elementCount(layout)),
    exponents: new Int8Array(rowCount(layout)).fill(zeroExponent),
  };
}

export function rowsToBytes({ codes, exponents }: Rows): Uint8Array {
  const bytes = new Uint8Array(codes.length + exponents.length);
  bytes.set(new Uint8Array(codes.buffer, codes.byteOffset, codes.length));
  bytes.set(new Uint8Array(exponents.buffer, exponents.byteOffset, exponents.length), codes.length);
  return bytes;
}

/** Throws `bad_input` when the bytes are not int8 rows of this layout. */
export function rowsFromBytes(bytes: Uint8Array, layout: readonly ParameterSpec[]): Rows {
  const size = elementCount(layout);
  const rows = rowCount(layout);
  if (bytes.length !== size + rows) {
    throw new AtollError('bad_input', `Expected ${size + rows} bytes of int8 rows, got ${bytes.length}.`);
  }
  const signed = new Int8Array(bytes.slice().buffer);
  const codes = signed.subarray(0, size);
  const exponents = signed.subarray(size);
  checkCodes(codes);
  checkExponents(exponents);
  return { codes, exponents };
}

const notOurs = 'The int8 rows hold a code or an exponent that no encoder writes.';

/** Throws `bad_input` on codes that no encoder writes: their values would not be PF32, and devices could differ. */
export function checkCodes(codes: Int8Array): void {
  if (codes.includes(-128)) throw new AtollError('bad_input', notOurs);
}

/** The same for exponents. */
export function checkExponents(exponents: Int8Array): void {
  if (exponents.some((e) => e < zeroExponent || e > 41)) throw new AtollError('bad_input', notOurs);
}

/**
 * The values of one parameter. With `halfStep`, a zero code in a row that is not all zero stands for half a step: a root of a second moment that
 * vanished in the code would let Adam divide by nothing (decision 0004).
 */
export function decodeRows(
  rows: Rows,
  layout: readonly ParameterSpec[],
  index: number,
  halfStep = false,
): Float32Array {
  const parameter = layout[index] as ParameterSpec;
  const firstRow = rowCount(layout.slice(0, index));
  const values = new Float32Array(parameter.rows * parameter.cols);
  for (let r = 0; r < parameter.rows; r++) {
    const step = 2 ** ((rows.exponents[firstRow + r] as number) - 7);
    const at = r * parameter.cols;
    for (let c = 0; c < parameter.cols; c++) {
      const code = rows.codes[parameter.offset + at + c] as number;
      values[at + c] = fl((code === 0 && halfStep ? 0.5 : code) * step);
    }
  }
  return values;
}

/** The squares of decoded roots: Adam's second moments. */
export function squares(roots: Float32Array): Float32Array {
  return roots.map((root) => mul(root, root));
}

/** Collects one device operand a parameter into int8 rows. */
export class RowEncoder {
  private readonly device: Device;
  private readonly layout: readonly ParameterSpec[];
  private readonly operands: Quantized[];

  constructor(device: Device, layout: readonly ParameterSpec[]) {
    this.device = device;
    this.layout = layout;
    this.operands = layout.map(({ rows, cols }) => device.quantized(1, rows, cols));
  }

  /** Quantises `tensors` (one a parameter) by rows on the device and reads the codes back. */
  async encode(tensors: readonly Tensor[]): Promise<Rows> {
    const recording = this.device.record((ops) => {
      this.layout.forEach(({ rows, cols }, i) => {
        const src = matrix(tensors[i] as Tensor, rows, cols);
        ops.quantize({ src, dst: this.operands[i] as Quantized, nb: 7 });
      });
    });
    await this.device.run(recording);
    const out = zeroRows(this.layout);
    let row = 0;
    for (const [i, { offset, rows }] of this.layout.entries()) {
      const { mantissas, exponents } = await this.device.readQuantized(this.operands[i] as Quantized);
      out.codes.set(mantissas, offset);
      out.exponents.set(exponents, row);
      row += rows;
    }
    return out;
  }
}
