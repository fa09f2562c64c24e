/**
 * The same GPT in jax-js: one jitted function from parameters, moments and tokens to the loss and the next parameters and moments.
 *
 * Matrices are kept [in, out], as JAX likes them. Every use of an array gives it away, hence `ref`. Embeddings are one-hot products: jax-js
 * 0.1.25 cannot jit the gradient of a gather ("routine primitive scatter input is not imm").
 */
import {
  type Array as JaxArray,
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  nn,
  numpy as np,
  valueAndGrad,
} from '@jax-js/jax';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { transposed } from '../../kernel/inputs.ts';
import type { TrainTask } from '../../rig/contest.ts';
import type { OwnTrainer } from '../contest.ts';
import { batchOf, firstWeights, hyper } from '../shape.ts';

const norm = (x: JaxArray, gain: JaxArray, bias: JaxArray) => nn.standardize(x, -1).mul(gain).add(bias);

/** Parameters in layout order: wte, wpe, eight a layer, the last norm's two. */
function lossOf(config: ModelConfig, batch: number) {
  const { L, C, NH, T, V } = config;
  const M = batch * T;
  const HD = C / NH;
  const heads = (x: JaxArray, part: number) =>
    x.slice([], [part * C, (part + 1) * C]).reshape([batch, T, NH, HD]);
  return (p: JaxArray[], inputs: JaxArray, targets: JaxArray): JaxArray => {
    const at = (i: number) => p[i] as JaxArray;
    const token = np.dot(nn.oneHot(inputs, V), at(0).ref);
    let x = token.reshape([batch, T, C]).add(at(1)).reshape([M, C]);
    for (let l = 0; l < L; l++) {
      const [gain1, bias1, qkv, proj, gain2, bias2, up, down] = p.slice(2 + 8 * l, 10 + 8 * l) as [
        JaxArray,
        JaxArray,
        JaxArray,
        JaxArray,
        JaxArray,
        JaxArray,
        JaxArray,
        JaxArray,
      ];
      const y = np.dot(norm(x.ref, gain1, bias1), qkv);
      const [q, k, v] = [heads(y.ref, 0), heads(y.ref, 1), heads(y, 2)];
      const attended = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([M, C]);
      x = x.add(np.dot(attended, proj));
      x = x.ref.add(np.dot(nn.gelu(np.dot(norm(x, gain2, bias2), up)), down));
    }
    const last = norm(x, at(2 + 8 * L), at(3 + 8 * L));
    const logits = np.dot(last, at(0).transpose());
    return nn
      .logSoftmax(logits, -1)
      .mul(nn.oneHot(targets, V))
      .sum()
      .mul(-1 / M);
  };
}

type State = { p: JaxArray[]; m: JaxArray[]; v: JaxArray[] };

function stepOf(config: ModelConfig, batch: number, decays: readonly boolean[]) {
  const gradient = valueAndGrad(lossOf(config, batch));
  const { lr, beta1, beta2, eps, weightDecay } = hyper;
  return jit((state: State, inputs: JaxArray, targets: JaxArray, bias1: JaxArray, bias2: JaxArray) => {
    const [loss, grads] = gradient(
      state.p.map((x) => x.ref),
      inputs,
      targets,
    );
    const next: State = { p: [], m: [], v: [] };
    for (const [i, g] of grads.entries()) {
      const m = (state.m[i] as JaxArray).mul(beta1).add(g.ref.mul(1 - beta1));
      const v = (state.v[i] as JaxArray).mul(beta2).add(g.ref.mul(g).mul(1 - beta2));
      const update = m.ref.mul(bias1.ref).div(np.sqrt(v.ref.mul(bias2.ref)).add(eps));
      const p = (state.p[i] as JaxArray).mul(decays[i] ? 1 - lr * weightDecay : 1);
      next.p.push(p.sub(update.mul(lr)));
      next.m.push(m);
      next.v.push(v);
    }
    bias1.dispose();
    bias2.dispose();
    return { loss, state: next };
  });
}

export async function trainer(task: TrainTask, backend: 'webgpu' | 'wasm'): Promise<OwnTrainer> {
  const devices = await init(backend);
  if (!devices.includes(backend)) throw new Error(`jax-js has no ${backend} here.`);
  defaultDevice(backend);
  const { model, batch } = task;
  const weights = firstWeights(model);
  // Looked up by position, not multiplied: [V, C] and [T, C] as they are.
  const isTable = (name: string) => name === 'wte' || name === 'wpe';
  const p = weights.map(({ name, rows, cols, values }) => {
    if (rows === 1) return np.array(values);
    return isTable(name)
      ? np.array(values).reshape([rows, cols])
      : np.array(transposed(values, rows, cols)).reshape([cols, rows]);
  });
  let state: State = { p, m: p.map((x) => np.zeros(x.shape)), v: p.map((x) => np.zeros(x.shape)) };
  const decays = weights.map(({ decay }) => decay);
  const step = stepOf(model, batch, decays);
  let t = 0;
  return {
    label: `jax-js ${backend}`,
    async step(index) {
      t++;
      const { inputs, targets } = batchOf(model, batch, index);
      const scalar = (x: number) => np.array(Float32Array.of(x));
      const [bias1, bias2] = [scalar(1 / (1 - hyper.beta1 ** t)), scalar(1 / (1 - hyper.beta2 ** t))];
      const result = step(state, np.array(inputs), np.array(targets), bias1, bias2);
      state = result.state;
      return (await result.loss.data())[0] as number;
    },
    async finish() {
      await blockUntilReady(state);
    },
  };
}
