/** The ops give what the host's coding of int8 rows gives, which updates and checkpoints were written with. */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../../device/cpu.ts';
import { values } from '../../device/testing/match.ts';
import type { ParameterSpec } from '../../model/layout.ts';
import { decodeRows, RowEncoder, squares } from '../../model/rows.ts';
import { packedWords } from './spec.ts';

const common = { decay: true, init: { value: 0 } };
const layout: ParameterSpec[] = [
  { name: 'a', rows: 7, cols: 13, offset: 0, ...common },
  { name: 'b', rows: 1, cols: 6, offset: 91, ...common },
];

describe('int8 rows', () => {
  it.each(['normal', 'wide', 'edges', 'sparse', 'zero'] as const)('of %s values', async (kind) => {
    const device = createCpuDevice();
    const sources = layout.map(({ rows, cols }, i) => values(kind, rows * cols, i + 1).map(Math.abs));
    const tensors = sources.map((source) => {
      const tensor = device.tensor(source.length);
      device.write(tensor, source);
      return tensor;
    });
    const host = await new RowEncoder(device, layout).encode(tensors);
    let row = 0;
    for (const [i, { rows, cols, offset }] of layout.entries()) {
      const size = rows * cols;
      const [codes, exponents] = [device.tensor(packedWords(size)), device.tensor(packedWords(rows))];
      const [plain, roots, seconds] = [device.tensor(size), device.tensor(size), device.tensor(size)];
      const shape = { codes, exponents, rows, cols };
      const recording = device.record((ops) => {
        ops.encodeRows({ src: tensors[i] as (typeof tensors)[0], ...shape });
        ops.decodeRows({ ...shape, dst: plain });
        ops.decodeRows({ ...shape, dst: roots, halfStep: true });
        ops.decodeRows({ ...shape, dst: seconds, halfStep: true, square: true });
      });
      await device.run(recording);
      const bytes = async (tensor: typeof codes, count: number) =>
        new Int8Array((await device.read(tensor)).buffer).slice(0, count);
      expect(await bytes(codes, size)).toEqual(host.codes.slice(offset, offset + size));
      expect(await bytes(exponents, rows)).toEqual(host.exponents.slice(row, row + rows));
      expect(await device.read(plain)).toEqual(decodeRows(host, layout, i));
      expect(await device.read(roots)).toEqual(decodeRows(host, layout, i, true));
      expect(await device.read(seconds)).toEqual(squares(decodeRows(host, layout, i, true)));
      row += rows;
    }
  });
});
