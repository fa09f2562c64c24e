/**
 * The shape of a model and its precision policy, as jobs name them and as the HTTP API shows them.
 *
 * One family: GPT-2 (LayerNorm, GELU, learned positions, biases, tied embeddings) and Llama (RMSNorm, SwiGLU, rotary positions, grouped heads), dense or a
 * mixture of experts. A field that is absent means what models were before it existed. A file of its own so that the page can parse the HTTP API without
 * loading the CBOR codec, which `job.ts` needs.
 */
import * as v from 'valibot';

/** GEMM precision: see NUMERICS. */
export const policySchema = v.picklist(['i8sr', 'i10sr', 'i15']);
export type Policy = v.InferOutput<typeof policySchema>;

export const within = (min: number, max: number) =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));

const modelShape = v.strictObject({
  /** Layers. */
  L: within(1, 96),
  /** Channels. */
  C: within(8, 8192),
  /** Heads of queries. */
  NH: within(1, 128),
  /** Context. */
  T: within(4, 4096),
  /** Vocabulary. */
  V: within(2, 131_072),
  /** LayerNorm unless given. */
  norm: v.exactOptional(v.picklist(['layer', 'rms'])),
  /** GELU unless given. */
  mlp: v.exactOptional(v.picklist(['gelu', 'swiglu'])),
  /** A learned table unless given. */
  positions: v.exactOptional(v.picklist(['learned', 'rotary'])),
  /** Biases in linear layers; none unless true. */
  biases: v.exactOptional(v.boolean()),
  /** Heads of keys and values, NH unless given. */
  NKV: v.exactOptional(within(1, 128)),
  /** Channels inside the MLP, of one expert where there are several; 4 C unless given. */
  HID: v.exactOptional(within(8, 65_536)),
  /** Whether the head is the token table; true unless given. */
  tied: v.exactOptional(v.boolean()),
  /** E experts, of which the router chooses k for each token. */
  experts: v.exactOptional(v.strictObject({ E: within(2, 256), k: within(1, 16) })),
  /** Base of the rotary angles as f32 bits; 10000 unless given. */
  ropeTheta: v.exactOptional(
    v.pipe(v.number(), v.safeInteger(), v.minValue(0x3f800001), v.maxValue(0x4e6e6b28)),
  ),
});

/** Elements of one parameter: what a tensor may have on every backend. */
const elementsMax = 2 ** 30;

export const modelConfigSchema = v.pipe(
  modelShape,
  v.check((m) => m.C % m.NH === 0, 'C must be a multiple of NH'),
  v.check((m) => m.NH % (m.NKV ?? m.NH) === 0, 'NH must be a multiple of NKV'),
  v.check((m) => m.positions !== 'rotary' || (m.C / m.NH) % 2 === 0, 'rotary positions need an even C / NH'),
  v.check((m) => m.ropeTheta === undefined || m.positions === 'rotary', 'ropeTheta is for rotary positions'),
  v.check((m) => !m.experts || m.experts.k <= m.experts.E, 'a token cannot have more experts than there are'),
  v.check((m) => !m.experts || !m.biases, 'experts have no biases'),
  v.check((m) => largestParameter(m) < elementsMax, 'a parameter may have 2^30 elements at most'),
);
export type ModelConfig = v.InferOutput<typeof modelConfigSchema>;

function largestParameter(m: v.InferOutput<typeof modelShape>): number {
  const halves = m.mlp === 'swiglu' ? 2 : 1;
  return Math.max(m.V * m.C, (m.experts?.E ?? 1) * halves * (m.HID ?? 4 * m.C) * m.C, 3 * m.C * m.C);
}

/** Bytes of a token where tokens travel: little-endian, as few as the vocabulary allows of 1, 2 and 4. */
export function tokenBytes({ V }: Pick<ModelConfig, 'V'>): 1 | 2 | 4 {
  return V <= 256 ? 1 : V <= 65_536 ? 2 : 4;
}

/** Tokens as they travel in a workunit's `tokens` block: see `tokenBytes`. */
export function encodeTokens(
  tokens: ArrayLike<number>,
  model: Pick<ModelConfig, 'V'>,
): Uint8Array<ArrayBuffer> {
  const width = tokenBytes(model);
  const bytes = new Uint8Array(tokens.length * width);
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = (tokens[Math.floor(i / width)] as number) >>> (8 * (i % width));
  }
  return bytes;
}

/** The tokens of such a block. Bytes beyond the last whole token are not looked at. */
export function decodeTokens(bytes: Uint8Array, model: Pick<ModelConfig, 'V'>): Uint32Array<ArrayBuffer> {
  const width = tokenBytes(model);
  const tokens = new Uint32Array(Math.floor(bytes.length / width));
  for (let i = 0; i < tokens.length * width; i++) {
    const at = Math.floor(i / width);
    tokens[at] = ((tokens[at] as number) | ((bytes[i] as number) << (8 * (i % width)))) >>> 0;
  }
  return tokens;
}

/** What people call a model of this kind: GPT, GPT-2, Llama, each perhaps with experts; by its most telling fields. */
export function familyName(model: ModelConfig): string {
  const llama = model.norm === 'rms' && model.mlp === 'swiglu' && model.positions === 'rotary';
  const name = llama ? 'Llama' : model.biases ? 'GPT-2' : 'GPT';
  return model.experts ? `${name} with ${model.experts.E} experts` : name;
}
