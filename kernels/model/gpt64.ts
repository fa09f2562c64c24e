/**
 * The same family of models in plain f64, forward only: the yardstick for gradients (finite differences) and for how much the exact arithmetic loses.
 * For tests; far too slow for anything else.
 */
import type { ModelConfig } from '#protocol/messages/model.ts';
import { layerNormEps } from '../ops/layer-norm/spec.ts';
import { type Architecture, architectureOf } from './architecture.ts';
import { parameterLayout } from './layout.ts';

type Matrix = Float64Array;
type Get = (name: string) => Matrix | undefined;

/** Mean cross-entropy in nats over `batch` windows of T + 1 tokens. */
export function loss64(
  model: ModelConfig,
  weights: Float64Array,
  windows: ArrayLike<number>,
  batch: number,
): number {
  const shape = architectureOf(model);
  const { L, C, T, V } = shape;
  const p = new Map(
    parameterLayout(model).map((spec) => [
      spec.name,
      weights.subarray(spec.offset, spec.offset + spec.rows * spec.cols),
    ]),
  );
  const wte = p.get('wte') as Matrix;
  const wpe = p.get('wpe');
  let total = 0;
  for (let b = 0; b < batch; b++) {
    const token = (t: number) => windows[b * (T + 1) + t] as number;
    let x: Matrix = new Float64Array(T * C);
    for (let i = 0; i < T * C; i++) {
      x[i] = (wte[token(Math.floor(i / C)) * C + (i % C)] as number) + (wpe?.[i] ?? 0);
    }
    for (let l = 0; l < L; l++) x = layer(shape, x, (name) => p.get(`h${l}.${name}`));
    const y = norm(x, p.get('lnf.gain') as Matrix, p.get('lnf.bias'));
    const logits = product(y, p.get('head') ?? wte, C, V);
    for (let t = 0; t < T; t++) {
      const row = logits.subarray(t * V, (t + 1) * V);
      const max = Math.max(...row);
      const sum = row.reduce((acc, value) => acc + Math.exp(value - max), 0);
      total += Math.log(sum) + max - (row[token(t + 1)] as number);
    }
  }
  return total / (batch * T);
}

function layer(shape: Architecture, x: Matrix, get: Get): Matrix {
  const { C, QKV, NH, HD } = shape;
  const gained = (name: string, from: Matrix) =>
    norm(from, get(`${name}.gain`) as Matrix, get(`${name}.bias`));
  const qkv = linear(gained('ln1', x), get, 'attn.qkv', C, QKV);
  if (shape.positions === 'rotary') rotate(shape, qkv);
  const x2 = add(x, linear(attention(shape, qkv), get, 'attn.proj', NH * HD, C));
  return add(x2, mlp(shape, gained('ln2', x2), get));
}

function mlp(shape: Architecture, x: Matrix, get: Get): Matrix {
  const { C, HID, experts } = shape;
  if (experts) return mixture(shape, experts, x, get);
  const wide = shape.mlp === 'swiglu' ? 2 * HID : HID;
  const up = linear(x, get, 'mlp.up', C, wide);
  return linear(activation(shape, up), get, 'mlp.down', HID, C);
}

/** Every token at its k best experts, by a softmax over their logits. */
function mixture(shape: Architecture, experts: { E: number; k: number }, x: Matrix, get: Get): Matrix {
  const { C, HID, T } = shape;
  const { E, k } = experts;
  const logits = product(x, get('mlp.router') as Matrix, C, E);
  const part = (name: string, e: number) => {
    const all = get(name) as Matrix;
    return all.subarray((all.length / E) * e, (all.length / E) * (e + 1));
  };
  const y = new Float64Array(x.length);
  for (let t = 0; t < T; t++) {
    const row = logits.subarray(t * E, (t + 1) * E);
    const chosen = [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number)).slice(0, k);
    const weights = chosen.map((e) => Math.exp(row[e] as number));
    const total = weights.reduce((sum, w) => sum + w, 0);
    chosen.forEach((e, j) => {
      const input = x.subarray(t * C, (t + 1) * C);
      const wide = shape.mlp === 'swiglu' ? 2 * HID : HID;
      const act = activation(shape, product(input, part('mlp.up', e), C, wide));
      const out = product(act, part('mlp.down', e), HID, C);
      for (let c = 0; c < C; c++) {
        y[t * C + c] = (y[t * C + c] as number) + ((weights[j] as number) / total) * (out[c] as number);
      }
    });
  }
  return y;
}

function activation({ mlp, HID }: Architecture, up: Matrix): Matrix {
  if (mlp === 'gelu') {
    return up.map((u) => 0.5 * u * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (u + 0.044715 * u ** 3))));
  }
  return Float64Array.from({ length: up.length / 2 }, (_, i) => {
    const at = Math.floor(i / HID) * 2 * HID + (i % HID);
    const gate = up[at] as number;
    return (gate / (1 + Math.exp(-gate))) * (up[at + HID] as number);
  });
}

/** Turns pairs (i, i + HD / 2) of the heads of q and k. */
function rotate({ T, NH, NKV, HD, QKV, ropeTheta }: Architecture, qkv: Matrix): void {
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < NH + NKV; h++) {
      for (let i = 0; i < HD / 2; i++) {
        const angle = t * ropeTheta ** ((-2 * i) / HD);
        const at = t * QKV + h * HD + i;
        const [a, b] = [qkv[at] as number, qkv[at + HD / 2] as number];
        qkv[at] = a * Math.cos(angle) - b * Math.sin(angle);
        qkv[at + HD / 2] = b * Math.cos(angle) + a * Math.sin(angle);
      }
    }
  }
}

/** qkv [T, QKV] -> [T, NH HD]. */
export function attention({ NH, NKV, HD, QKV }: Omit<Architecture, 'T'>, qkv: Matrix): Matrix {
  const T = qkv.length / QKV;
  const out = new Float64Array(T * NH * HD);
  for (let h = 0; h < NH; h++) {
    const kv = Math.floor(h / (NH / NKV));
    for (let i = 0; i < T; i++) {
      const scores = Array.from({ length: i + 1 }, (_, j) => {
        let s = 0;
        for (let d = 0; d < HD; d++) {
          s += (qkv[i * QKV + h * HD + d] as number) * (qkv[j * QKV + (NH + kv) * HD + d] as number);
        }
        return s / Math.sqrt(HD);
      });
      const max = Math.max(...scores);
      const e = scores.map((s) => Math.exp(s - max));
      const sum = e.reduce((acc, value) => acc + value, 0);
      for (let d = 0; d < HD; d++) {
        out[i * NH * HD + h * HD + d] = e.reduce(
          (acc, value, j) => acc + (value / sum) * (qkv[j * QKV + (NH + NKV + kv) * HD + d] as number),
          0,
        );
      }
    }
  }
  return out;
}

/** LayerNorm, or RMSNorm where there is no bias. */
function norm(x: Matrix, gain: Matrix, bias: Matrix | undefined): Matrix {
  const C = gain.length;
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += C) {
    const row = x.subarray(at, at + C);
    const mean = bias ? row.reduce((acc, value) => acc + value, 0) / C : 0;
    const variance = row.reduce((acc, value) => acc + (value - mean) ** 2, 0) / C;
    for (let c = 0; c < C; c++) {
      const xhat = ((row[c] as number) - mean) / Math.sqrt(variance + layerNormEps);
      y[at + c] = xhat * (gain[c] as number) + (bias?.[c] ?? 0);
    }
  }
  return y;
}

function linear(x: Matrix, get: Get, name: string, inputs: number, outputs: number): Matrix {
  const y = product(x, get(name) as Matrix, inputs, outputs);
  const bias = get(`${name}.bias`);
  return bias ? y.map((value, i) => value + (bias[i % outputs] as number)) : y;
}

/** x [rows, in] times w [out, in] transposed. */
function product(x: Matrix, w: Matrix, inputs: number, outputs: number): Matrix {
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
