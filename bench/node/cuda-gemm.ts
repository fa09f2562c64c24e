/**
 * Exact GEMM end to end on a CUDA GPU (f32 bits in, both operands quantised, multiplied, rounded, f32 bits out) against the vendor's own products of the same
 * matrices on the same GPU: `i8sr` against cuBLASLt's int8, which gets its operands quantised and leaves i32, and `i15` against cuBLAS's f32 without TF32.
 *
 * Ours must have the reference's digests at 256 x 256 x 8192; the vendor's i32 sums, rounded, must be our bits, and its f32 product near our `i15`.
 */
import { createCudaDevice } from '#kernels/device/cuda/create.ts';
import type { CudaDevice } from '#kernels/device/cuda/device.ts';
import { type CudaTensor, operand } from '#kernels/device/cuda/launch.ts';
import { openCudaApi } from '#kernels/device/cuda/native-api.ts';
import { precisionOf } from '#kernels/model/policy.ts';
import { round } from '#kernels/ops/gemm/cpu.ts';
import { lowbias32 } from '#kernels/ops/math/cpu.ts';
import { matrix, type Quantized, type Tensor } from '#kernels/tensor/tensor.ts';
import { codeOf } from '#protocol/errors.ts';
import { type Policy, policySchema } from '#protocol/messages/model.ts';
import type { GemmTask } from '../rig/contest.ts';
import { information, median, ratio, type Times } from '../rig/duel.ts';
import { verifyProducts } from '../kernel/native.ts';
import { clockDuel, type GpuContender } from './clock.ts';
import type { Measure, Measured } from './measure.ts';
import { Vendor } from './vendor.ts';

const size = 8192;
const shape = { M: size, N: size, K: size };
const [bytesId, realId] = ['gemm cuda 8192^3, i8sr / cuBLASLt int8', 'gemm cuda 8192^3, i15 / cuBLAS f32'];
const [bytesPeer, realPeer] = ['cuBLASLt int8', 'cuBLAS f32'];
const checked = 256;
/** Places of the results that are compared. */
const places = Array.from({ length: 65_536 }, (_, i) => lowbias32(i) % (size * size));
/** Root mean square of the difference of an `i15` product and an f32 one, relative to that of the product. */
const tolerance = 1e-3;

export const cudaGemm: Measure = {
  name: 'exact GEMM on CUDA',
  reach: [
    { id: bytesId, unit: '%', atLeast: 40, aim: 75 },
    { id: realId, unit: 'x', atLeast: 3, aim: 8 },
  ],
  async run(say, { quick }) {
    const device = await createCudaDevice();
    try {
      for (const policy of policySchema.options) await verifyProducts(device, smallTask(policy));
      return await contest(device, say, quick);
    } finally {
      device.destroy();
    }
  },
};

const smallTask = (policy: Policy): GemmTask => ({
  kind: 'gemm',
  contestant: 'atoll',
  M: checked,
  N: checked,
  K: size,
  policy,
});

async function contest(device: CudaDevice, say: (line: string) => void, quick: boolean): Promise<Measured> {
  const own = new Map<Policy, OwnProduct>();
  const [a, b] = [uniform(device, 1), uniform(device, 2)];
  for (const policy of policySchema.options) own.set(policy, new OwnProduct(device, policy, a, b));
  for (const product of own.values()) await product.work(1);
  const contenders: GpuContender[] = [...own].map(([name, { work }]) => ({ name, work }));
  const versions: Record<string, string> = {};
  const skipped = await vendorContenders(device, own, [a, b], contenders, versions).catch(whyMissing);
  const times = await clockDuel(contenders, quick);
  for (const [name, seconds] of times) say(`  ${name.padEnd(14)} ${speed(seconds).toFixed(1)} TOP/s`);
  const rows = [...times].map(([name, seconds]) =>
    information(`gemm cuda 8192^3 ${name}`, speed(seconds), 'TOP/s'),
  );
  return {
    device: device.info.label,
    versions,
    rows,
    ...(skipped === null ? { values: valuesOf(times) } : { skipped }),
  };
}

/** A library that is not here is told; everything else is a failure. */
function whyMissing(error: unknown): string {
  if (codeOf(error) === 'no_device') return (error as Error).message;
  throw error;
}

const speed = (seconds: readonly number[]) => (2 * size ** 3) / median(seconds) / 1e12;

function valuesOf(times: Times): Record<string, number> {
  return { [bytesId]: 100 * ratio(times, bytesPeer, 'i8sr'), [realId]: ratio(times, realPeer, 'i15') };
}

/** Uniform in [-1, 1), [size][size]. */
function uniform(device: CudaDevice, seed: number): Tensor {
  const base = lowbias32(seed);
  const values = new Float32Array(size * size);
  for (let i = 0; i < values.length; i++) {
    values[i] = ((lowbias32((base + Math.imul(i, 0x9e3779b9)) | 0) >>> 8) - 2 ** 23) / 2 ** 23;
  }
  const tensor = device.tensor(values.length);
  device.write(tensor, values);
  return tensor;
}

class OwnProduct {
  readonly a: Quantized;
  readonly b: Quantized;
  readonly dst: Tensor;
  readonly work: (count: number) => Promise<void>;

  constructor(device: CudaDevice, policy: Policy, a: Tensor, b: Tensor) {
    const { nb } = precisionOf[policy];
    [this.a, this.b] = [device.quantized(1, size, size), device.quantized(1, size, size)];
    this.dst = device.tensor(size * size);
    const recording = device.record((ops) => {
      ops.quantize({ src: matrix(a, size, size), dst: this.a, nb });
      ops.quantize({ src: matrix(b, size, size), dst: this.b, nb });
      ops.gemm({ a: this.a, b: this.b, dst: matrix(this.dst, size, size), nb });
    });
    const probe = device.tensor(1);
    this.work = async (count) => {
      for (let i = 0; i < count; i++) await device.run(recording);
      await device.read(probe);
    };
  }
}

const addressOf = (tensor: Tensor) => (tensor as CudaTensor).address;

/** Adds the vendor's products, verified, to the contenders. Null, or why there are none. */
async function vendorContenders(
  device: CudaDevice,
  own: ReadonlyMap<Policy, OwnProduct>,
  [a, b]: readonly [Tensor, Tensor],
  contenders: GpuContender[],
  versions: Record<string, string>,
): Promise<null> {
  const [bytes, real] = [own.get('i8sr'), own.get('i15')] as [OwnProduct, OwnProduct];
  const vendor = new Vendor(openCudaApi());
  const c = device.tensor(size * size);
  const planes = [bytes.a, bytes.b].map((q) => addressOf(operand(q).mantissas)) as [bigint, bigint];
  const int8 = vendor.bytes(shape, { a: planes[0], b: planes[1], c: addressOf(c) });
  int8.multiply();
  vendor.wait();
  await checkBytes(device, bytes, c);
  const f32 = vendor.real(shape, { a: addressOf(a), b: addressOf(b), c: addressOf(c) });
  f32.multiply();
  vendor.wait();
  await checkReal(device, real, c);
  versions['cuBLASLt'] = int8.label;
  versions['cuBLAS'] = f32.label;
  for (const [name, { multiply }] of [
    [bytesPeer, int8],
    [realPeer, f32],
  ] as const) {
    const work = async (count: number) => {
      for (let i = 0; i < count; i++) multiply();
      vendor.wait();
    };
    contenders.push({ name, work });
  }
  return null;
}

const integers = async (device: CudaDevice, tensor: Tensor) =>
  new Int32Array((await device.read(tensor)).buffer);

/** The vendor's sums with our exponents are our bits. */
async function checkBytes(device: CudaDevice, { a, b, dst }: OwnProduct, sums: Tensor): Promise<void> {
  const [ours, theirs] = [await device.read(dst), await integers(device, sums)];
  const [ea, eb] = [
    await integers(device, operand(a).exponents),
    await integers(device, operand(b).exponents),
  ];
  const wrong = places.find((i) => {
    const exponent = (ea[Math.floor(i / size)] as number) + (eb[i % size] as number) - 14;
    return round(theirs[i] as number, exponent) !== ours[i];
  });
  if (wrong !== undefined) throw new Error(`Our product and cuBLASLt’s differ at ${wrong}.`);
}

async function checkReal(device: CudaDevice, { dst }: OwnProduct, product: Tensor): Promise<void> {
  const [ours, theirs] = [await device.read(dst), await device.read(product)];
  const square = (of: (i: number) => number) => places.reduce((sum, i) => sum + of(i) ** 2, 0);
  const error = square((i) => (ours[i] as number) - (theirs[i] as number));
  const relative = Math.sqrt(error / square((i) => theirs[i] as number));
  if (!(relative <= tolerance)) throw new Error(`Our product and cuBLAS’s differ by ${relative}.`);
}
