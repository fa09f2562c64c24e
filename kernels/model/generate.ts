/**
 * Text generation with a cache of keys and values, exact: the logits are the bits that the whole forward pass gives, on every device.
 *
 * Weights are quantised once, when they are loaded. A prompt goes through in tiles of up to 128 positions, then one position at a time. The cache stays
 * between calls: a prompt that begins as the last text did is computed only from where it differs.
 */
import { AtollError } from '#protocol/errors.ts';
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Device, Recording } from '../device/device.ts';
import { constant, lowbias32 } from '../ops/math/cpu.ts';
import { matrix, type Tensor, type View } from '../tensor/tensor.ts';
import { tileRows } from './attention.ts';
import { layerCache } from './cached-attention.ts';
import { CachedPass } from './cached-pass.ts';
import { type ModelContext, modelContext } from './context.ts';
import type { ParameterSpec } from './layout.ts';
import { frozenParameters } from './parameters.ts';
import { precisionOf } from './policy.ts';
import { rotaryTensors } from './rotary.ts';

/** Where weights come from: a `StoredCheckpoint`, or `weightsFrom` an array. */
export interface WeightSource {
  readonly model: ModelConfig;
  /** Writes the values of one parameter into a tensor. */
  loadWeights(device: Device, spec: ParameterSpec, to: Tensor): Promise<void>;
}

/** All parameters in layout order as a source. */
export function weightsFrom(model: ModelConfig, weights: Float32Array): WeightSource {
  return {
    model,
    loadWeights(device, { offset, rows, cols }, to) {
      device.write(to, weights.subarray(offset, offset + rows * cols));
      return Promise.resolve();
    },
  };
}

export interface GenerateOptions {
  /** Most tokens to give; fewer come when the context of T tokens is full. */
  maxTokens: number;
  /** 0, the default, takes the likeliest token. */
  temperature?: number;
  /** Draws from the k likeliest only. */
  topK?: number;
  /** The same seed, prompt and options give the same tokens, on every device. */
  seed?: number;
  signal?: AbortSignal;
}

/** Rows of the passes that a prompt is cut into. */
const passRows = [1, 8, 32, tileRows];

export class Generator {
  private readonly device: Device;
  private readonly context: ModelContext;
  private readonly passes: readonly CachedPass[];
  private readonly temperature: Tensor;
  private readonly samplers = new Map<number | undefined, Recording>();
  /** Tokens whose keys and values are in the cache. */
  private cached: number[] = [];
  private busy = false;

  private constructor(device: Device, model: ModelConfig, policy: Policy) {
    this.device = device;
    this.context = modelContext(
      device,
      model,
      policy,
      1,
      frozenParameters(device, model, precisionOf[policy]),
    );
    const { L, T, positions } = this.context.shape;
    const caches = Array.from({ length: L }, () => layerCache(this.context));
    const rotation = positions === 'rotary' ? rotaryTensors(this.context) : null;
    this.passes = passRows
      .filter((rows) => rows === 1 || rows <= T)
      .map((M) => new CachedPass({ ...this.context, M }, caches, rotation));
    this.temperature = device.tensor(1);
  }

  /**
   * Loads a model's weights on a device; `destroy` of the device, or of the scope that was given, frees them.
   * Throws `out_of_memory`, and `bad_input` on weights that no device may store.
   */
  static async load(device: Device, source: WeightSource, policy: Policy): Promise<Generator> {
    const generator = new Generator(device, source.model, policy);
    const { parameters, precision } = generator.context;
    for (const { spec, value, frozen } of parameters.list) {
      const { rows, cols } = spec;
      const scope = device.scope();
      try {
        const values = value.size > 0 ? value : scope.tensor(rows * cols);
        await source.loadWeights(device, spec, values);
        if (!frozen) continue;
        const count = frozen.batch;
        const src: View = {
          ...matrix(values, frozen.rows, cols),
          batch: [1, 0, count, (rows * cols) / count],
        };
        await scope.run(scope.record((ops) => ops.quantize({ src, dst: frozen, nb: precision.nb })));
      } finally {
        scope.destroy();
      }
    }
    return generator;
  }

  /**
   * Tokens after `prompt`, one by one as they are computed. Throws `bad_input` on a prompt that is empty, too long or holds what is no token; `conflict` while
   * another call is under way; `cancelled`.
   */
  async *generate(prompt: ArrayLike<number>, options: GenerateOptions): AsyncGenerator<number, void> {
    const { maxTokens, temperature = 0, topK, seed = 0, signal } = options;
    const tokens = this.checkPrompt(prompt);
    this.device.write(this.temperature, Float32Array.of(constant(temperature)));
    const sampler = this.sampler(topK);
    await this.exclusively(() => this.begin(tokens, signal));
    for (let given = 0; given < maxTokens; given++) {
      const token = await this.exclusively(() => this.sample(sampler, seed));
      yield token;
      if (given + 1 === maxTokens || this.cached.length === this.context.shape.T) return;
      checkSignal(signal);
      await this.exclusively(() => this.step(token));
    }
  }

  /** The logits [V] of the token after `tokens`. Throws as `generate` does. */
  async logits(tokens: ArrayLike<number>, signal?: AbortSignal): Promise<Float32Array> {
    const list = this.checkPrompt(tokens);
    return this.exclusively(async () => {
      await this.begin(list, signal);
      return this.device.read(this.decoder.logits as Tensor);
    });
  }

  private get decoder(): CachedPass {
    return this.passes[0] as CachedPass;
  }

  private checkPrompt(prompt: ArrayLike<number>): number[] {
    const { T, V } = this.context.shape;
    const tokens = Array.from(prompt);
    if (tokens.length < 1 || tokens.length > T) {
      throw new AtollError('bad_input', `A prompt has 1 to ${T} tokens, not ${tokens.length}.`);
    }
    if (!tokens.every((token) => Number.isInteger(token) && token >= 0 && token < V)) {
      throw new AtollError('bad_input', `A token lies beyond the vocabulary of ${V}.`);
    }
    return tokens;
  }

  private async exclusively<R>(use: () => Promise<R>): Promise<R> {
    if (this.busy) throw new AtollError('conflict', 'This generator is at work for another call.');
    this.busy = true;
    try {
      return await use();
    } finally {
      this.busy = false;
    }
  }

  /** Brings the cache to `tokens` and leaves the logits of the last one. */
  private async begin(tokens: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    const last = tokens.length - 1;
    let known = 0;
    while (known < last && this.cached[known] === tokens[known]) known++;
    this.cached.length = known;
    while (this.cached.length < last) {
      checkSignal(signal);
      const start = this.cached.length;
      const left = last - start;
      const pass = this.passes.find(({ rows }) => rows >= left) ?? (this.passes.at(-1) as CachedPass);
      const part = tokens.slice(start, Math.min(last, start + pass.rows));
      pass.place(start, part);
      await pass.run(start, part.length);
      this.cached.push(...part);
    }
    checkSignal(signal);
    this.decoder.place(last, [tokens[last] as number]);
    await this.decoder.run(last, 1);
    this.cached.push(tokens[last] as number);
  }

  /** One more position: its token is where `sample` left it. */
  private async step(token: number): Promise<void> {
    const start = this.cached.length;
    this.decoder.place(start, [token]);
    await this.decoder.run(start, 1);
    this.cached.push(token);
  }

  private async sample(sampler: Recording, seed: number): Promise<number> {
    const place = this.cached.length;
    this.device.write(
      this.context.scalars,
      Uint32Array.of(lowbias32((seed + Math.imul(place, 0x9e3779b9)) >>> 0)),
    );
    await this.device.run(sampler);
    const words = await this.device.read(this.decoder.tokens);
    return new Uint32Array(words.buffer, words.byteOffset, 1)[0] as number;
  }

  private sampler(topK: number | undefined): Recording {
    const known = this.samplers.get(topK);
    if (known) return known;
    const { scalars, shape } = this.context;
    const { logits, tokens } = this.decoder;
    const limit = topK === undefined ? {} : { topK: Math.min(topK, shape.V) };
    const recording = this.device.record((ops) => {
      const args = { logits: logits as Tensor, rows: 1, V: shape.V, temperature: this.temperature, scalars };
      ops.sample({ ...args, ...limit, site: 0, dst: tokens });
    });
    this.samplers.set(topK, recording);
    return recording;
  }
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted)
    throw new AtollError('cancelled', 'The text is no longer wanted.', { cause: signal.reason });
}
