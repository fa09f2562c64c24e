/**
 * The same GPT in TensorFlow.js: variables, `tf.train.adam` (it has no weight decay, so does a little less), everything inside its own tidy scope.
 * Embeddings are one-hot products, since its WASM backend lacks the gradient of a gather.
 */
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import * as tf from '@tensorflow/tfjs-core';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { startTfjs } from '../../kernel/peers/tfjs.ts';
import type { TrainTask } from '../../rig/contest.ts';
import type { OwnTrainer } from '../contest.ts';
import { batchOf, firstWeights, hyper } from '../shape.ts';

function norm(x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor): tf.Tensor {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), 1e-5));
  return tf.add(tf.mul(tf.mul(centred, rstd), gain), bias);
}

function gelu(x: tf.Tensor): tf.Tensor {
  const cube = tf.mul(tf.mul(x, x), x);
  const inner = tf.mul(tf.add(x, tf.mul(cube, 0.044715)), Math.sqrt(2 / Math.PI));
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

/** Added to scores: nothing looks ahead. */
function causalMask(T: number): tf.Tensor {
  const values = Float32Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e9 : 0));
  return tf.tensor(values, [1, 1, T, T]);
}

function lossOf(config: ModelConfig, batch: number, p: readonly tf.Variable[]) {
  const { L, C, NH, T, V } = config;
  const M = batch * T;
  const mask = causalMask(T);
  // Variables are [out, in]: tfjs multiplies by a transposed matrix without moving it.
  const linear = (x: tf.Tensor, w: tf.Tensor) => tf.matMul(x, w, false, true);
  const heads = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [batch, T, NH, C / NH]), [0, 2, 1, 3]);
  const attention = (x: tf.Tensor) => {
    const [q, k, v] = tf.split(x, 3, 1).map(heads) as [tf.Tensor, tf.Tensor, tf.Tensor];
    const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(C / NH));
    const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v);
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [M, C]);
  };
  return (inputs: tf.Tensor, targets: tf.Tensor): tf.Tensor => {
    const at = (i: number) => p[i] as tf.Tensor;
    const token = tf.matMul(tf.oneHot(inputs, V), at(0));
    let x = tf.reshape(tf.add(tf.reshape(token, [batch, T, C]), at(1)), [M, C]);
    for (let l = 0; l < L; l++) {
      const o = 2 + 8 * l;
      const attended = attention(linear(norm(x, at(o), at(o + 1)), at(o + 2)));
      x = tf.add(x, linear(attended, at(o + 3)));
      x = tf.add(x, linear(gelu(linear(norm(x, at(o + 4), at(o + 5)), at(o + 6))), at(o + 7)));
    }
    const logits = linear(norm(x, at(2 + 8 * L), at(3 + 8 * L)), at(0));
    return tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(targets, V))), -1 / M);
  };
}

export async function trainer(task: TrainTask, backend: 'webgpu' | 'wasm'): Promise<OwnTrainer> {
  await startTfjs(backend);
  const { model, batch } = task;
  const variables = firstWeights(model).map(({ name, rows, cols, values }) =>
    tf.variable(tf.tensor(values, rows === 1 ? [cols] : [rows, cols]), true, name),
  );
  const optimizer = tf.train.adam(hyper.lr, hyper.beta1, hyper.beta2, hyper.eps);
  const loss = lossOf(model, batch, variables);
  return {
    label: `tfjs ${backend}`,
    async step(index) {
      const { inputs, targets } = batchOf(model, batch, index);
      const cost = tf.tidy(() => {
        const [x, y] = [inputs, targets].map((list) => tf.tensor(list, [list.length], 'int32')) as [
          tf.Tensor,
          tf.Tensor,
        ];
        return optimizer.minimize(() => loss(x, y), true, variables) as tf.Tensor;
      });
      const [value] = await cost.data();
      cost.dispose();
      return value as number;
    },
    async finish() {
      await (variables.at(-1) as tf.Variable).data();
    },
  };
}
