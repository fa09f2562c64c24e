/** Greedy generation by onnxruntime-web in Node, WASM f32, with the cache as inputs and outputs of each run, as its interface has it. */
import type * as Ort from 'onnxruntime-web/wasm';
import type { ModelConfig } from '#protocol/messages/model.ts';
import { dataFile, gpt2Onnx } from '../../onnx/gpt2.ts';
import type { Generation } from '../generate-child.ts';

type Cache = Record<string, Ort.Tensor>;

export async function ortGeneration(
  config: ModelConfig,
  weights: Float32Array,
  threads: number,
): Promise<Generation> {
  const url = new URL('../../peers/node_modules/onnxruntime-web/dist/ort.node.min.mjs', import.meta.url);
  const ort = (await import(url.href)) as typeof Ort;
  ort.env.wasm.numThreads = threads;
  const { model, data } = gpt2Onnx(config, weights);
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['wasm'],
    externalData: [{ path: dataFile, data }],
    graphOptimizationLevel: 'all',
  });
  const { L, C, NH } = config;
  const empty = () => new ort.Tensor('float32', new Float32Array(0), [NH, 0, C / NH]);
  const layers = Array.from({ length: L }, (_, l) => [`k.${l}`, `v.${l}`]).flat();
  const i64 = (values: number[]) =>
    new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [values.length]);

  /** New tokens after `past` earlier ones: logits of the last, and the longer cache. */
  async function run(tokens: number[], past: number, cache: Cache) {
    const [rows, cols] = [tokens.length, past + tokens.length];
    const mask = Float32Array.from({ length: rows * cols }, (_, i) =>
      i % cols > past + Math.floor(i / cols) ? -1e9 : 0,
    );
    const result = await session.run({
      tokens: i64(tokens),
      positions: i64(tokens.map((_, i) => past + i)),
      mask: new ort.Tensor('float32', mask, [rows, cols]),
      ...Object.fromEntries(layers.map((name) => [`past.${name}`, cache[name] ?? empty()])),
    });
    const next = Object.fromEntries(layers.map((name) => [name, result[`present.${name}`] as Ort.Tensor]));
    return { logits: (result['logits'] as Ort.Tensor).data as Float32Array, cache: next };
  }

  let start: { logits: Float32Array; cache: Cache; past: number } | undefined;
  return {
    label: 'onnxruntime-web wasm',
    async prefill(prompt) {
      start = { ...(await run([...prompt], 0, {})), past: prompt.length };
      return start.logits;
    },
    async generate(count) {
      if (!start) throw new Error('There is no prompt yet.');
      let { logits, cache, past } = start;
      const tokens: number[] = [];
      for (let i = 0; i < count; i++) {
        const token = argmax(logits);
        tokens.push(token);
        ({ logits, cache } = await run([token], past++, cache));
      }
      return tokens;
    },
  };
}

function argmax(x: Float32Array): number {
  let best = 0;
  for (let i = 1; i < x.length; i++) if ((x[i] as number) > (x[best] as number)) best = i;
  return best;
}
