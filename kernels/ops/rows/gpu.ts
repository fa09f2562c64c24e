/** int8 rows on WebGPU. Encoding is two passes, as codes are packed across the ends of rows: exponents, then codes. */
import { kernel, type Pass, type PassContext } from '../../device/webgpu-pass.ts';
import { aloneMax } from '../reduce/gpu.ts';
import decodeBody from './decode-rows.wgsl?raw';
import codesBody from './encode-codes.wgsl?raw';
import exponentsBody from './encode-exponents.wgsl?raw';
import { type DecodeRowsArgs, type EncodeRowsArgs, packedWords } from './spec.ts';

const exponentsKernel = kernel('encode-exponents', exponentsBody, 'rrw');
const codesKernel = kernel('encode-codes', codesBody, 'rrrw');
const decodeKernel = kernel('decode-rows', decodeBody, 'rrrw');

export function encodeRowsPasses(args: EncodeRowsArgs, { software }: PassContext): Pass[] {
  const { src, codes, exponents, rows, cols } = args;
  const minus = args.minus ?? null;
  const kind = minus ? 1 : args.sqrt ? 2 : 0;
  const shape = software && cols <= aloneMax ? { ROWS: 16, LANES: 1 } : { ROWS: 4, LANES: 64 };
  return [
    {
      kernel: exponentsKernel,
      constants: shape,
      buffers: [src, minus, exponents],
      uniforms: [rows, cols, kind],
      workgroups: Math.ceil(rows / shape.ROWS),
    },
    {
      kernel: codesKernel,
      buffers: [src, minus, exponents, codes],
      uniforms: [rows * cols, cols, kind],
      workgroups: Math.ceil(packedWords(rows * cols) / 256),
    },
  ];
}

export function decodeRowsPasses(args: DecodeRowsArgs): Pass[] {
  const { codes, exponents, dst, rows, cols, addTo } = args;
  const inPlace = addTo === dst;
  return [
    {
      kernel: decodeKernel,
      constants: {
        HALF_STEP: args.halfStep ? 1 : 0,
        SQUARE: args.square ? 1 : 0,
        ADD: addTo ? (inPlace ? 1 : 2) : 0,
      },
      buffers: [codes, exponents, inPlace ? null : (addTo ?? null), dst],
      uniforms: [rows * cols, cols],
      workgroups: Math.ceil(packedWords(rows * cols) / 256),
    },
  ];
}
