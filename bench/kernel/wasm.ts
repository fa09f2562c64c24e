/**
 * Speed of the WASM device on one thread: exact GEMM end to end and a GPT training step, per CPU-second of this process.
 *
 * `node --import ./scripts/raw-hooks.ts bench/kernel/wasm.ts [--json] [--only gemm|train|parts] [--debug]`. GEMM counts 2 M N K operations for f32 bits in, both operands
 * quantised, multiplied, rounded, f32 bits out. Every figure is the median of several timed batches after a warm-up; results are checked against
 * the reference by the tests, not here. `--debug` keeps function names, for `node --cpu-prof`.
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

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean' },
    only: { type: 'string' },
    debug: { type: 'boolean' },
    policy: { type: 'string' },
  },
});
const batches = 7;

interface Figure {
  measure: string;
  value: number;
  unit: string;
}
const figures: Figure[] = [];

function report(measure: string, value: number, unit: string): void {
  figures.push({ measure, value, unit });
  if (!options.json) console.log(`${measure.padEnd(44)} ${value.toFixed(value < 10 ? 4 : 1)} ${unit}`);
}

/** Median CPU-seconds of one call, from batches of about `seconds`. */
async function cpuSeconds(run: () => Promise<void>, seconds = 0.4): Promise<number> {
  const time = async (count: number) => {
    const start = process.cpuUsage();
    for (let i = 0; i < count; i++) await run();
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1e6 / count;
  };
  // The engine compiles hot kernels again meanwhile.
  let one = await time(1);
  for (let spent = 0; spent < seconds; spent += one) one = await time(1);
  const count = Math.max(1, Math.round(seconds / (await time(3))));
  const samples: number[] = [];
  for (let i = 0; i < batches; i++) samples.push(await time(count));
  return samples.sort((a, b) => a - b)[batches >> 1] as number;
}

async function gemm(device: Device, M: number, N: number, K: number, nb: Bits): Promise<void> {
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
  const seconds = await cpuSeconds(() => scope.run(recording));
  report(`gemm ${M}x${N}x${K} i${nb === 7 ? 8 : nb}`, (2 * M * N * K) / seconds / 1e9, 'GOP/CPU-s');
  scope.destroy();
}

async function trainStep(device: Device, model: ModelConfig, batch: number, policy: Policy): Promise<void> {
  const scope = device.scope();
  const gpt = new Gpt(scope, model, batch, policy, true);
  gpt.load(initialWeights(model, 1));
  const step = gpt.recordStep({
    beta1: constant(0.9),
    beta2: constant(0.99),
    eps: constant(1e-8),
    weightDecay: constant(0.1),
  });
  const bits = (x: number) => toBits(constant(x));
  gpt.setTokens(Uint8Array.from({ length: batch * (model.T + 1) }, (_, i) => (i * i * 31) % model.V));
  let seed = 1;
  const seconds = await cpuSeconds(async () => {
    gpt.setScalars({ seed: seed++, lr: bits(1e-3), bias1: bits(1.5), bias2: bits(2) });
    await scope.run(step);
    await gpt.readLoss();
  }, 1);
  report(`train step L=${model.L} C=${model.C} T=${model.T} B=${batch} ${policy}`, seconds, 'CPU-s');
  scope.destroy();
}

await ensureWasm(options.debug ? ['--debug'] : []);
const device = await createWasmDevice();
if (options.only !== 'train') {
  for (const [M, N, K] of [
    [512, 512, 512],
    [64, 1024, 1024],
  ] as const) {
    for (const nb of [7, 10, 15] as const) await gemm(device, M, N, K, nb);
  }
}
if (options.only !== 'gemm') {
  const model: ModelConfig = { L: 4, C: 128, NH: 4, T: 64, V: 256 };
  for (const policy of ['i8sr', 'i10sr', 'i15'] as const)
    if (!options.policy || options.policy === policy) await trainStep(device, model, 8, policy);
}
if (options.json) console.log(JSON.stringify({ node: process.version, figures }, null, 1));
