/** Conformance of int8 rows: encoding and decoding, rows that end inside a word, and every way to read a code. */
import { packedWords } from '../ops/rows/spec.ts';
import { type Bench, type Case, opCase } from './case.ts';
import { hardRows } from './inputs.ts';

/** Encodes the same rows in the three ways; what lies behind the outputs must stay. */
function encode(rows: number, cols: number, low: number, high: number, probe = false): Case {
  return opCase(
    `encode-rows/${rows}x${cols}/${low},${high}`,
    (bench) => {
      const size = rows * cols;
      const [src, minus] = [bench.values(size, low, high), bench.values(size, low, high)];
      const roots = bench.from(bench.random.positives(size, low, high));
      const packed = (bytes: number) => bench.from(bench.random.indices(packedWords(bytes) + 1, 2 ** 30));
      const outs = [0, 1, 2].map(() => ({ codes: packed(size), exponents: packed(rows) }));
      const [plain, delta, root] = outs as [(typeof outs)[0], (typeof outs)[0], (typeof outs)[0]];
      return {
        record: (ops) => {
          ops.encodeRows({ src, ...plain, rows, cols });
          ops.encodeRows({ src, minus, ...delta, rows, cols });
          ops.encodeRows({ src: roots, sqrt: true, ...root, rows, cols });
        },
        out: outs.flatMap(({ codes, exponents }) => [codes, exponents]),
      };
    },
    { probe },
  );
}

function encodeHard(cols: number): Case {
  return opCase(`encode-rows/hard/${cols}`, (bench) => {
    const { words, rows } = hardRows(cols, 7);
    const src = bench.from(words);
    const [codes, exponents] = [bench.zeros(packedWords(rows * cols)), bench.zeros(packedWords(rows))];
    return { record: (ops) => ops.encodeRows({ src, codes, exponents, rows, cols }), out: [codes, exponents] };
  });
}

/** Packed bytes: every code, exponents from `low` to `high`. */
function bytesOf(bench: Bench, count: number, low: number, high: number): Uint32Array {
  const words = new Uint32Array(packedWords(count));
  for (let i = 0; i < count; i++) {
    const byte = (low + bench.random.below(high - low + 1)) & 255;
    words[i >> 2] = ((words[i >> 2] as number) | (byte << (8 * (i & 3)))) >>> 0;
  }
  return words;
}

function decode(rows: number, cols: number, low: number, high: number, probe = false): Case {
  return opCase(
    `decode-rows/${rows}x${cols}/${low},${high}`,
    (bench) => {
      const size = rows * cols;
      const codes = bench.from(bytesOf(bench, size, -127, 127));
      const exponents = bench.from(bytesOf(bench, rows, low, high));
      const from = { codes, exponents, rows, cols };
      const [plain, halves] = [bench.zeros(size + 1), bench.zeros(size)];
      const [squares, added] = [bench.zeros(size), bench.zeros(size)];
      const [sum, inPlace] = [bench.values(size, Math.max(-99, low - 7), Math.min(40, high)), bench.values(size)];
      return {
        record: (ops) => {
          ops.decodeRows({ ...from, dst: plain });
          ops.decodeRows({ ...from, dst: halves, halfStep: true });
          ops.decodeRows({ ...from, dst: squares, halfStep: true, square: true });
          ops.decodeRows({ ...from, dst: added, addTo: sum });
          ops.decodeRows({ ...from, dst: inPlace, addTo: inPlace, square: true });
        },
        out: [plain, halves, squares, added, inPlace],
      };
    },
    { probe },
  );
}

export const codecCases: readonly Case[] = [
  ...[
    [1, 1],
    [1, 2],
    [2, 3],
    [3, 1],
    [5, 4],
    [7, 13],
    [64, 1],
    [65, 65],
    [2, 4097],
    [33, 128],
  ].flatMap(([rows, cols]) => [
    encode(rows as number, cols as number, -12, 3, rows === 7),
    decode(rows as number, cols as number, -12, 3, rows === 7),
  ]),
  encode(17, 9, -100, -90),
  encode(17, 9, -100, 40),
  encode(17, 9, 30, 40),
  decode(17, 9, -99, -88),
  decode(17, 9, -99, 41),
  decode(17, 9, 30, 41),
  encodeHard(5),
  encodeHard(67),
];
