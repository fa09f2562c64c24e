/**
 * int8 rows on CUDA. Encoding is one launch where rows are whole words of codes and not very long, else two, as codes are packed across the ends of rows:
 * exponents, then codes.
 */
import { type Launch, line } from '../../device/cuda/launch.ts';
import { cudaSource, entryOf } from '../math/cuda.ts';
import body from './rows.cu?raw';
import { type DecodeRowsArgs, type EncodeRowsArgs, packedWords } from './spec.ts';

export const rowsSource = cudaSource('rows', body);

const rowsKernel = entryOf(rowsSource, 'encode_rows');
const exponentsKernel = entryOf(rowsSource, 'encode_exponents');
const codesKernel = entryOf(rowsSource, 'encode_codes');
const decodeKernel = entryOf(rowsSource, 'decode_rows');

/** Elements that a warp keeps of a row in one launch, and the most warps of a block. */
const keptByWarp = 32 * 8 * 4;
const warpsMax = 32;

export function encodeRowsLaunches(args: EncodeRowsArgs): Launch[] {
  const { src, codes, exponents, rows, cols } = args;
  const minus = args.minus ?? null;
  const kind = minus ? 1 : args.sqrt ? 2 : 0;
  const warps = Math.ceil(cols / keptByWarp);
  if (cols % 4 === 0 && warps <= warpsMax) {
    const perBlock = Math.max(1, Math.floor(8 / warps));
    return [
      {
        kernel: rowsKernel,
        args: [src, minus, exponents, codes, rows, cols, kind],
        grid: [Math.ceil(rows / perBlock), 1, 1],
        block: [32 * warps, perBlock, 1],
      },
    ];
  }
  return [
    {
      kernel: exponentsKernel,
      args: [src, minus, exponents, rows, cols, kind],
      grid: [Math.ceil(rows / 8), 1, 1],
      block: [32, 8, 1],
    },
    {
      kernel: codesKernel,
      args: [src, minus, exponents, codes, rows * cols, cols, kind],
      ...line(packedWords(rows * cols)),
    },
  ];
}

export function decodeRowsLaunches(args: DecodeRowsArgs): Launch[] {
  const { codes, exponents, dst, rows, cols, addTo, halfStep, square } = args;
  return [
    {
      kernel: decodeKernel,
      args: [codes, exponents, addTo ?? null, dst, rows * cols, cols, halfStep ? 1 : 0, square ? 1 : 0],
      ...line(packedWords(rows * cols)),
    },
  ];
}
