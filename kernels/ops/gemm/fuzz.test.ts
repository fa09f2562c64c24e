/** Random operands and products, WebAssembly against the reference; a failure prints the plan and the seed that replays it. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../device/device.ts';
import { createCpuDevice } from '../../device/cpu.ts';
import { buildProduct, productPlans } from '../../device/testing/fuzz.ts';
import { expectSame, values } from '../../device/testing/match.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { matrix } from '../../tensor/tensor.ts';
import type { GemmArgs } from './spec.ts';

describe.each([1, 3])('%i threads', (threads) => {
  let device: Device;
  beforeAll(async () => {
    device = await createWasmDevice({ threads });
  });
  afterAll(() => device.destroy());

  it('multiplies as the reference does, whatever the operands and options', async () => {
    const same = fc.asyncProperty(productPlans, (plan) => expectSame(device, (b) => buildProduct(b, plan)));
    await fc.assert(same, { numRuns: threads === 1 ? 250 : 80 });
  }, 180_000);
});

/** An operand, a tensor and a view of what a refused product could be about. */
function parts(device: Device) {
  const [a, b] = [device.quantized(1, 4, 16), device.quantized(1, 6, 16)];
  const y = device.tensor(24);
  const plain: GemmArgs = { a, b, dst: matrix(y, 4, 6), nb: 7 };
  return { a, b, y, x: device.tensor(24), plain };
}

describe('a product is refused', () => {
  const device = createCpuDevice();
  const { a, b, y, x, plain } = parts(device);
  const long = device.quantized(1, 1, 132_111);
  const cases: [string, Partial<GemmArgs>][] = [
    ['an empty row', { dst: matrix(y, 0, 6) }],
    ['an empty column', { dst: matrix(y, 4, 0) }],
    ['more rows than a has', { dst: matrix(y, 5, 4) }],
    ['more columns than b has', { dst: matrix(y, 3, 7) }],
    ['a destination that is too small', { dst: matrix(y, 4, 6, 1) }],
    ['a longer contraction than there is', { length: 17 }],
    ['an empty contraction', { length: 0 }],
    ['a diagonal left of the matrix', { causal: { offset: -2 } }],
    ['half a column', { causal: { offset: 0.5 } }],
    ['a short bias', { bias: device.tensor(5) }],
    ['a bias that is the destination', { bias: y }],
    ['a preactivation without an activation', { preactivation: x }],
    ['a preactivation that is the destination', { activation: 'gelu', preactivation: y }],
    ['an activation and a gradient', { activation: 'gelu', activationGrad: { kind: 'gelu', x } }],
    ['a gradient over its own input', { activationGrad: { kind: 'silu', x: y } }],
    ['a short residual', { residual: device.tensor(23) }],
    ['a narrow operand on the left', { a: device.quantized(1, 4, 16, false, true) }],
    ['narrow weights of ten bits', { b: device.quantized(1, 6, 16, false, true), nb: 10 }],
    ['another batch', { b: device.quantized(2, 6, 16) }],
    ['a sum beyond 2^47', { a: long, b: long, dst: matrix(y, 1, 1), nb: 15 }],
  ];
  it.each(cases)('with %s', (_, change) => {
    const args = { ...plain, ...change };
    expect(() => device.record((ops) => ops.gemm(args))).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
  });

  it('but not as it is', () => {
    expect(() => device.record((ops) => ops.gemm({ ...plain, a, b }))).not.toThrow();
  });
});

describe('rows that are quantised into an operand', () => {
  const device = createCpuDevice();
  const src = matrix(device.tensor(32), 2, 16);
  const dst = device.quantized(1, 4, 16);

  it.each([
    ['too many', { dst: device.quantized(1, 3, 16), dstRow: 2 }],
    ['before the first', { dst, dstRow: -1 }],
    ['no whole row', { dst, dstRow: 0.5 }],
    ['fewer without a place', { dst }],
    ['of a narrow operand', { dst: device.quantized(1, 4, 16, false, true), dstRow: 1 }],
    ['of none', { dst, dstRow: 0, src: { ...src, rows: 0 } }],
  ])('are refused: %s', (_, change) => {
    expect(() => device.record((ops) => ops.quantize({ src, nb: 7, ...change }))).toThrow(
      expect.objectContaining({ code: 'bad_input' }),
    );
  });
});

it('an epilogue is the separate ops', async () => {
  const device = createCpuDevice();
  const [M, N, K] = [7, 13, 21];
  const tensor = (seed: number, size = M * N) => {
    const made = device.tensor(size);
    device.write(made, values('normal', size, seed));
    return made;
  };
  const [a, b] = [device.quantized(1, M, K), device.quantized(1, N, K)];
  const [sourceA, sourceB, bias, residual, x] = [
    tensor(1, M * K),
    tensor(2, N * K),
    tensor(3),
    tensor(4),
    tensor(5),
  ];
  const [plain, kept, forward, backward] = [tensor(0), tensor(0), tensor(0), tensor(0)];
  const [act, grad, one] = [tensor(0), tensor(0), tensor(0)];
  const spread = device.tensor(M * N);
  const biasRow = (await device.read(bias)).subarray(0, N);
  device.write(
    spread,
    Float32Array.from({ length: M * N }, (_, i) => biasRow[i % N] as number),
  );
  const size = M * N;
  await device.run(
    device.record((ops) => {
      ops.quantize({ src: matrix(sourceA, M, K), dst: a, nb: 10 });
      ops.quantize({ src: matrix(sourceB, N, K), dst: b, nb: 10 });
      const product = { a, b, nb: 10 } as const;
      ops.gemm({ ...product, dst: matrix(plain, M, N) });
      ops.elementwise({ kind: 'add', a: plain, b: spread, dst: one, size });
      ops.gelu({ x: one, y: act, size });
      ops.elementwise({ kind: 'add', a: residual, b: act, dst: act, size });
      ops.geluGrad({ x, dy: plain, dx: grad, size });
      ops.gemm({
        ...product,
        dst: matrix(forward, M, N),
        bias,
        activation: 'gelu',
        preactivation: kept,
        residual,
      });
      ops.gemm({ ...product, dst: matrix(backward, M, N), activationGrad: { kind: 'gelu', x } });
    }),
  );
  expect(await device.read(kept)).toEqual(await device.read(one));
  expect(await device.read(forward)).toEqual(await device.read(act));
  expect(await device.read(backward)).toEqual(await device.read(grad));
});
