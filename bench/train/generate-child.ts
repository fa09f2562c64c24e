/**
 * One side of the generation match in a process of its own, so that its CPU time is its own: `ort` or `atoll`. Forked by generate.ts, which tells it what to do.
 * Both have the same weights, prompt and number of threads, and choose the likeliest token.
 */
import { initialWeights } from '#kernels/model/init.ts';
import { lowbias32 } from '#kernels/ops/math/cpu.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';

export interface Generation {
  label: string;
  /** Logits after the prompt, whose cache `generate` starts from. */
  prefill(prompt: readonly number[]): Promise<Float32Array>;
  /** Tokens chosen one after the other, each fed back. */
  generate(count: number): Promise<number[]>;
}

export interface GenerateSetup {
  side: 'ort' | 'atoll';
  model: ModelConfig;
  policy: Policy;
  threads: number;
  promptLength: number;
}

/** To the child; it answers each. */
export type Order = { kind: 'open'; setup: GenerateSetup } | { kind: 'generate'; count: number };
export type Answer =
  | { kind: 'open'; label: string; logits: number[]; prefillSeconds: number }
  | { kind: 'generate'; tokens: number[]; seconds: number; cpuSeconds: number }
  | { kind: 'failed'; message: string };

async function open({ side, model, policy, threads }: GenerateSetup): Promise<Generation> {
  const weights = initialWeights(model, 1);
  if (side === 'ort') {
    return (await import('./peers/ort-generate.ts')).ortGeneration(model, weights, threads);
  }
  return (await import('./ours-generate.ts')).ownGeneration(model, weights, policy, threads);
}

let generation: Generation | undefined;

async function obey(order: Order): Promise<Answer> {
  if (order.kind === 'open') {
    const { model, promptLength } = order.setup;
    generation = await open(order.setup);
    const promptOf = (seed: number) =>
      Array.from({ length: promptLength }, (_, i) => lowbias32(seed * 1000 + i) % model.V);
    // Another prompt warms up: ours would keep what both begin with.
    await generation.prefill(promptOf(1));
    const prompt = promptOf(2);
    const start = performance.now();
    const logits = await generation.prefill(prompt);
    const prefillSeconds = (performance.now() - start) / 1e3;
    return { kind: 'open', label: generation.label, logits: [...logits], prefillSeconds };
  }
  if (!generation) throw new Error('Nothing is open.');
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const tokens = await generation.generate(order.count);
  const { user, system } = process.cpuUsage(cpu);
  const seconds = (performance.now() - start) / 1e3;
  return { kind: 'generate', tokens, seconds, cpuSeconds: (user + system) / 1e6 };
}

if (import.meta.main) {
  process.on('disconnect', () => process.exit());
  process.on('message', (order: Order) => {
    obey(order).then(
      (answer) => process.send?.(answer),
      (error: unknown) => process.send?.({ kind: 'failed', message: String(error) } satisfies Answer),
    );
  });
}
