/**
 * The same GPT in plain f64, forward only: the yardstick for gradients (finite differences) and for how much the exact arithmetic loses.
 * For tests; far too slow for anything else.
 */
import type { ModelConfig } from '#protocol/messages/job.ts';
import { layerNormEps } from '../ops/layer-norm/spec.ts';
import { parameterLayout } from './layout.ts';

type Matrix = Float64Array;

/** Mean cross-entropy in nats over `batch` windows of T + 1 tokens. */
export function loss64(
  model: ModelConfig,
  weights: Float64Array,
  windows: Uint8Array,
  batch: number,
): number {
  const { L, C, T, V } = model;
  const p = new Map(
    parameterLayout(model).map((spec) => [
      spec.name,
      weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols),
    ]),
  );
  const get = (name: string) => p.get(name) as Matrix;
  let total = 0;
  for (let b = 0; b < batch; b++) {
    const tokens = windows.subarray(b * (T + 1), (b + 1) * (T + 1));
    let x: Matrix = new Float64Array(T * C);
    for (let i = 0; i < T * C; i++) {
      x[i] =
        (get('wte')[(tokens[Math.floor(i / C)] as number) * C + (i % C)] as number) +
        (get('wpe')[i] as number);
    }
    for (let l = 0; l < L; l++) x = layer(model, x, (name) => get(`h${l}.${name}`));
    const logits = linear(norm(x, get('lnf.gain'), get('lnf.bias')), get('wte'), C, V);
    for (let t = 0; t < T; t++) {
      const row = logits.subarray(t * V, (t + 1) * V);
      const max = Math.max(...row);
      const sum = row.reduce((acc, value) => acc + Math.exp(value - max), 0);
      total += Math.log(sum) + max - (row[tokens[t + 1] as number] as number);
    }
  }
  return total / (batch * T);
}

function layer(model: ModelConfig, x: Matrix, get: (name: string) => Matrix): Matrix {
  const { C } = model;
  const qkv = linear(norm(x, get('ln1.gain'), get('ln1.bias')), get('attn.qkv'), C, 3 * C);
  const x2 = add(x, linear(attention(model, qkv), get('attn.proj'), C, C));
  const up = linear(norm(x2, get('ln2.gain'), get('ln2.bias')), get('mlp.up'), C, 4 * C);
  const act = up.map((u) => 0.5 * u * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (u + 0.044715 * u ** 3))));
  return add(x2, linear(act, get('mlp.down'), 4 * C, C));
}

function attention({ C, NH, T }: ModelConfig, qkv: Matrix): Matrix {
  const hd = C / NH;
  const out = new Float64Array(T * C);
  for (let h = 0; h < NH; h++) {
    for (let i = 0; i < T; i++) {
      const scores = Array.from({ length: i + 1 }, (_, j) => {
        let s = 0;
        for (let d = 0; d < hd; d++) {
          s += (qkv[i * 3 * C + h * hd + d] as number) * (qkv[j * 3 * C + C + h * hd + d] as number);
        }
        return s / Math.sqrt(hd);
      });
      const max = Math.max(...scores);
      const e = scores.map((s) => Math.exp(s - max));
      const sum = e.reduce((acc, value) => acc + value, 0);
      for (let d = 0; d < hd; d++) {
        out[i * C + h * hd + d] = e.reduce(
          (acc, value, j) => acc + (value / sum) * (qkv[j * 3 * C + 2 * C + h * hd + d] as number),
          0,
        );
      }
    }
  }
  return out;
}

function norm(x: Matrix, gain: Matrix, bias: Matrix): Matrix {
  const C = gain.length;
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += C) {
    const row = x.subarray(at, at + C);
    const mean = row.reduce((acc, value) => acc + value, 0) / C;
    const variance = row.reduce((acc, value) => acc + (value - mean) ** 2, 0) / C;
    for (let c = 0; c < C; c++) {
      y[at + c] =
        (((row[c] as number) - mean) / Math.sqrt(variance + layerNormEps)) * (gain[c] as number) +
        (bias[c] as number);
    }
  }
  return y;
}

/** x [rows, in] times w [out, in] transposed. */
function linear(x: Matrix, w: Matrix, inputs: number, outputs: number): Matrix {
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outputs; o++) {
      let s = 0;
      for (let i = 0; i < inputs; i++) s += (x[r * inputs + i] as number) * (w[o * inputs + i] as number);
      y[r * outputs + o] = s;
    }
  }
  return y;
}

function add(a: Matrix, b: Matrix): Matrix {
  return a.map((value, i) => value + (b[i] as number));
}
