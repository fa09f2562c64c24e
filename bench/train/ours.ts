/** Ours: the GPT of kernels/model, one recording a step. */
import type { Device } from '#kernels/device/device.ts';
import { Gpt } from '#kernels/model/gpt.ts';
import { initialWeights } from '#kernels/model/init.ts';
import { constant, toBits } from '#kernels/ops/math/cpu.ts';
import { deviceOf } from '../kernel/ours.ts';
import type { TrainTask } from '../rig/contest.ts';
import type { OwnTrainer } from './contest.ts';
import { hyper, windows } from './shape.ts';

export async function trainer(task: TrainTask, backend: 'webgpu' | 'wasm'): Promise<OwnTrainer> {
  return trainerOn(await deviceOf(backend), task);
}

const bits = (x: number) => toBits(constant(x));

export function trainerOn(device: Device, { model, batch, policy = 'i10sr' }: TrainTask): OwnTrainer {
  const gpt = new Gpt(device, model, batch, policy, true);
  gpt.load(initialWeights(model, 1));
  const step = gpt.recordStep({
    beta1: constant(hyper.beta1),
    beta2: constant(hyper.beta2),
    eps: constant(hyper.eps),
    weightDecay: constant(hyper.weightDecay),
  });
  let t = 0;
  return {
    label: device.info.label,
    async step(index) {
      t++;
      gpt.setTokens(windows(model, batch, index));
      gpt.setScalars({
        seed: t,
        lr: bits(hyper.lr),
        bias1: bits(1 / (1 - hyper.beta1 ** t)),
        bias2: bits(1 / (1 - hyper.beta2 ** t)),
      });
      await device.run(step);
      return gpt.readLoss();
    },
    async weights() {
      const parts: Float32Array[] = [];
      for (const { value } of gpt.parameters) parts.push(await device.read(value));
      const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
      let at = 0;
      for (const part of parts) {
        all.set(part, at);
        at += part.length;
      }
      return all;
    },
  };
}
