/**
 * One training step of GPT-2 124M at B=8, T=1024 on a CUDA GPU, in tokens a second: ours under every policy against PyTorch, float32 eager and bfloat16
 * compiled, on the same GPU, in turn. A step is forward, backward and AdamW with its loss read back; tokens are random, and new each time.
 *
 * Everybody's first loss must be near ln V. That ours are the reference's bits is what the conformance suite is for: 124M takes the reference hours.
 */
import { createCudaDevice } from '#kernels/device/cuda/create.ts';
import type { Device } from '#kernels/device/device.ts';
import { Gpt } from '#kernels/model/gpt.ts';
import { initialWeights } from '#kernels/model/init.ts';
import { constant, lowbias32, toBits } from '#kernels/ops/math/cpu.ts';
import { gpt2Small } from '#kernels/programs/testing/gpt2-step.ts';
import { codeOf } from '#protocol/errors.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import { information, median, ratio, type Times } from '../rig/duel.ts';
import { hyper } from '../train/shape.ts';
import { clockDuel, type GpuContender } from './clock.ts';
import type { Measure, Measured } from './measure.ts';
import { openTorch, type Torch } from './torch.ts';

const model: ModelConfig = { ...gpt2Small, T: 1024 };
const batch = 8;
const defaultPolicy: Policy = 'i10sr';
const policies: readonly Policy[] = ['i8sr', 'i10sr', 'i15'];
const peers = { f32: 'PyTorch f32 eager', bf16: 'PyTorch bf16 compiled' } as const;
const ids = {
  f32: 'train step cuda 124M, i10sr / PyTorch f32 eager',
  bf16: 'train step cuda 124M, i10sr / PyTorch bf16 compiled',
} as const;

export const cudaTrain: Measure = {
  name: 'training on CUDA',
  reach: [
    { id: ids.f32, unit: 'x', atLeast: 1, aim: 3 },
    { id: ids.bf16, unit: 'x', atLeast: 0.3, aim: 1 },
  ],
  async run(say, { quick }) {
    const device = await createCudaDevice();
    let torch: Torch | string = '';
    try {
      torch = await openTorch([batch, model.T, model.V, model.C, model.NH, model.L]).catch(whyMissing);
      return await contest(device, torch, quick, say);
    } finally {
      if (typeof torch !== 'string') torch.close();
      device.destroy();
    }
  },
};

/** Python or PyTorch that is not here is told; everything else is a failure. */
function whyMissing(error: unknown): string {
  if (codeOf(error) === 'no_device') return (error as Error).message;
  throw error;
}

async function contest(
  device: Device,
  torch: Torch | string,
  quick: boolean,
  say: (line: string) => void,
): Promise<Measured> {
  const contenders: GpuContender[] = [];
  for (const policy of quick ? [defaultPolicy] : policies)
    contenders.push(await ourContender(device, policy));
  if (typeof torch !== 'string') {
    for (const kind of ['f32', 'bf16'] as const) contenders.push(await peerContender(torch, kind));
  }
  const times = await clockDuel(contenders, quick);
  const speed = (seconds: readonly number[]) => (batch * model.T) / median(seconds);
  for (const [name, seconds] of times) say(`  ${name.padEnd(22)} ${speed(seconds).toFixed(0)} tokens/s`);
  const rows = [...times].map(([name, seconds]) =>
    information(`train step cuda 124M ${name}`, speed(seconds), 'tokens/s'),
  );
  const measured = { device: device.info.label, rows };
  if (typeof torch === 'string') return { ...measured, skipped: torch };
  const { torch: version, cuda } = torch.versions;
  return { ...measured, versions: { torch: `${version} (CUDA ${cuda})` }, values: valuesOf(times) };
}

function valuesOf(times: Times): Record<string, number> {
  const against = (kind: 'f32' | 'bf16') => ratio(times, peers[kind], defaultPolicy);
  return { [ids.f32]: against('f32'), [ids.bf16]: against('bf16') };
}

function checkFirst(name: string, loss: number | undefined): void {
  if (loss !== undefined && Math.abs(loss - Math.log(model.V)) < 0.5) return;
  throw new Error(`${name}: the first loss is ${loss}, not near ln V.`);
}

/** One model in a scope of its own; the first step compiles and is checked. */
async function ourContender(device: Device, policy: Policy): Promise<GpuContender> {
  // There is memory enough to keep every activation.
  const scope = device.scope();
  const gpt = new Gpt(scope, model, batch, policy, true, { recompute: false });
  gpt.load(initialWeights(model, 1));
  const { beta1, beta2, eps, weightDecay, lr } = hyper;
  const recording = gpt.recordStep({
    beta1: constant(beta1),
    beta2: constant(beta2),
    eps: constant(eps),
    weightDecay: constant(weightDecay),
  });
  const bits = (x: number) => toBits(constant(x));
  let t = 0;
  const step = async () => {
    t++;
    gpt.setTokens(windows(t));
    gpt.setScalars({
      seed: t,
      lr: bits(lr),
      bias1: bits(1 / (1 - beta1 ** t)),
      bias2: bits(1 / (1 - beta2 ** t)),
    });
    await scope.run(recording);
    return gpt.readLoss();
  };
  checkFirst(policy, await step());
  return {
    name: policy,
    async work(count) {
      for (let i = 0; i < count; i++) await step();
    },
  };
}

async function peerContender(torch: Torch, kind: 'f32' | 'bf16'): Promise<GpuContender> {
  const { losses } = await torch.steps(kind, 1);
  checkFirst(peers[kind], losses[0]);
  return { name: peers[kind], work: async (count) => void (await torch.steps(kind, count)) };
}

/** Windows of T + 1 random tokens for step `t`. */
function windows(t: number): Uint32Array {
  const base = lowbias32(t);
  const size = batch * (model.T + 1);
  return Uint32Array.from(
    { length: size },
    (_, i) => lowbias32((base + Math.imul(i, 0x9e3779b9)) | 0) % model.V,
  );
}
