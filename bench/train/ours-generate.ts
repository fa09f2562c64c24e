/** Greedy generation by ours on WASM: weights quantised once, a cache of quantised keys and values. */
import { createWasmDevice } from '#kernels/device/wasm.ts';
import { Generator, weightsFrom } from '#kernels/model/generate.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Generation } from './generate-child.ts';

export async function ownGeneration(
  model: ModelConfig,
  weights: Float32Array,
  policy: Policy,
  threads: number,
): Promise<Generation> {
  const device = await createWasmDevice({ threads });
  const generator = await Generator.load(device, weightsFrom(model, weights), policy);
  let start: readonly number[] = [];
  return {
    label: device.info.label,
    prefill(prompt) {
      start = prompt;
      return generator.logits(prompt);
    },
    // The cache keeps the prompt but for its last token, so that `count` tokens are `count` passes, as on the other side.
    async generate(count) {
      const tokens: number[] = [];
      for await (const token of generator.generate(start, { maxTokens: count })) tokens.push(token);
      return tokens;
    },
  };
}
