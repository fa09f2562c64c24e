/**
 * Speed of the WASM device: exact GEMM end to end (f32 bits in, both operands quantised, multiplied, rounded, f32 bits out) and a GPT training step.
 *
 * Figures are per CPU-second of this process, and by the clock; the bits are the tests' business. As a program, with knobs for a profiler:
 * `node --import ./scripts/raw-hooks.ts bench/kernel/wasm.ts [--threads N] [--only gemm|train] [--policy P] [--debug]`; `--debug` keeps the names of
 * functions for `node --cpu-prof`.
 */
import { parseArgs } from 'node:util';
import type { Device } from '#kernels/device/device.ts';
import { createWasmDevice } from '#kernels/device/wasm.ts';
import { Gpt } from '#kernels/model/gpt.ts';
import { initialWeights } from '#kernels/model/init.ts';
import { constant, toBits } from '#kernels/ops/math/cpu.ts';
import type { Bits } from '#kernels/ops/quantize/spec.ts';
import { matrix } from '#kernels/tensor/tensor.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import { ensureWasm } from '#scripts/build-wasm.ts';

/** What was measured: the median and the slowest of `runs` batches. */
export interface Figure {
  name: string;
  shape: string;
  unit: string;
  median: number;
  worst: number;
}

export interface WasmBenchOptions {
  threads?: number;
  only?: string | undefined;
  policy?: string | undefined;
  debug?: boolean;
}

const runs = 7;
const warmUpSeconds = 0.5;

interface Times {
  cpu: number[];
  clock: number[];
}

/** CPU-seconds and seconds of one call, sorted, from batches of about `seconds` after a warm-up: the engine compiles hot kernels again meanwhile. */
async function measure(run: () => Promise<void>, seconds: number): Promise<Times> {
  const time = async (count: number) => {
    const cpu = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < count; i++) await run();
    const clock = (performance.now() - start) / 1e3 / count;
    const { user, system } = process.cpuUsage(cpu);
    return { cpu: (user + system) / 1e6 / count, clock };
  };
  for (let spent = 0; spent < warmUpSeconds;) spent += (await time(1)).cpu;
  const count = Math.max(1, Math.round(seconds / (await time(3)).cpu));
  const times: Times = { cpu: [], clock: [] };
  for (let i = 0; i < runs; i++) {
    const { cpu, clock } = await time(count);
    times.cpu.push(cpu);
    times.clock.push(clock);
  }
  times.cpu.sort((a, b) => a - b);
  times.clock.sort((a, b) => a - b);
  return times;
}

const median = (sorted: readonly number[]) => sorted[sorted.length >> 1] as number;

async function gemm(device: Device, M: number, N: number, K: number, nb: Bits): Promise<Times> {
  const scope = device.scope();
  const fill = (size: number) => {
    const tensor = scope.tensor(size);
    scope.write(
      tensor,
      Float32Array.from({ length: size }, (_, i) => constant(Math.sin(i * 7.1))),
    );
    return tensor;
  };
  const [a, w, dst] = [fill(M * K), fill(N * K), scope.tensor(M * N)];
  const [qa, qw] = [scope.quantized(1, M, K), scope.quantized(1, N, K)];
  const recording = scope.record((ops) => {
    ops.quantize({ src: matrix(a, M, K), dst: qa, nb });
    ops.quantize({ src: matrix(w, N, K), dst: qw, nb });
    ops.gemm({ a: qa, b: qw, dst: matrix(dst, M, N), nb });
  });
  const times = await measure(() => scope.run(recording), 0.3);
  scope.destroy();
  return times;
}

async function trainStep(device: Device, model: ModelConfig, batch: number, policy: Policy): Promise<Times> {
  const scope = device.scope();
  const gpt = new Gpt(scope, model, batch, policy, true);
  gpt.load(initialWeights(model, 1));
  const rates = { beta1: constant(0.9), beta2: constant(0.99), eps: constant(1e-8) };
  const step = gpt.recordStep({ ...rates, weightDecay: constant(0.1) });
  const bits = (x: number) => toBits(constant(x));
  gpt.setTokens(Uint8Array.from({ length: batch * (model.T + 1) }, (_, i) => (i * i * 31) % model.V));
  let seed = 1;
  const times = await measure(async () => {
    gpt.setScalars({ seed: seed++, lr: bits(1e-3), bias1: bits(1.5), bias2: bits(2) });
    await scope.run(step);
    await gpt.readLoss();
  }, 0.7);
  scope.destroy();
  return times;
}

const shapes = [
  [512, 512, 512],
  [64, 1024, 1024],
] as const;
const policies = ['i8sr', 'i10sr', 'i15'] as const;
const widths: Record<Policy, Bits> = { i8sr: 7, i10sr: 10, i15: 15 };
const model: ModelConfig = { L: 4, C: 128, NH: 4, T: 64, V: 256 };
const batch = 8;

/** All figures of the WASM device, said one by one. */
export async function benchWasm(
  say: (line: string) => void,
  options: WasmBenchOptions = {},
): Promise<Figure[]> {
  const { threads = 1, only, policy: chosen, debug = false } = options;
  await ensureWasm(debug ? ['--debug'] : []);
  const device = await createWasmDevice({ threads });
  const figures: Figure[] = [];
  const add = (name: string, shape: string, unit: string, sorted: readonly number[]) => {
    const middle = median(sorted);
    figures.push({ name, shape, unit, median: middle, worst: sorted.at(-1) as number });
    say(`${name.padEnd(18)} ${shape.padEnd(30)} ${middle.toFixed(middle < 10 ? 4 : 1)} ${unit}`);
  };
  const policyList = policies.filter((policy) => chosen === undefined || chosen === policy);
  for (const [M, N, K] of only === 'train' ? [] : shapes) {
    for (const policy of policyList) {
      const { cpu, clock } = await gemm(device, M, N, K, widths[policy]);
      const rate = (seconds: readonly number[]) => seconds.map((s) => (2 * M * N * K) / s / 1e9);
      add(`gemm ${policy}`, `${M}x${N}x${K}`, 'GOP/CPU-s', rate(cpu));
      add(`gemm ${policy}`, `${M}x${N}x${K}`, 'GOP/s', rate(clock));
    }
  }
  const { L, C, NH, T, V } = model;
  for (const policy of only === 'gemm' ? [] : policyList) {
    const { cpu, clock } = await trainStep(device, model, batch, policy);
    const shape = `L=${L} C=${C} NH=${NH} T=${T} B=${batch} V=${V}`;
    add(`train step ${policy}`, shape, 'CPU-s', cpu);
    add(`train step ${policy}`, shape, 's', clock);
  }
  device.destroy();
  return figures;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      threads: { type: 'string', default: '1' },
      only: { type: 'string' },
      policy: { type: 'string' },
      debug: { type: 'boolean', default: false },
    },
  });
  await benchWasm(console.log, { ...values, threads: Number(values.threads) });
}
