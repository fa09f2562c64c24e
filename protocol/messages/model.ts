/**
 * The shape of a model and its precision policy, as jobs name them and as the HTTP API shows them.
 *
 * A file of its own so that the page can parse the HTTP API without loading the CBOR codec, which `job.ts` needs.
 */
import * as v from 'valibot';

/** GEMM precision: see NUMERICS. */
export const policySchema = v.picklist(['i8sr', 'i10sr', 'i15']);
export type Policy = v.InferOutput<typeof policySchema>;

export const within = (min: number, max: number) =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));

/** Shape of a GPT over bytes. L layers, C channels, NH heads, T context, V vocabulary. */
export const modelConfigSchema = v.pipe(
  v.strictObject({
    L: within(1, 96),
    C: within(8, 8192),
    NH: within(1, 128),
    T: within(4, 4096),
    V: within(2, 131_072),
  }),
  v.check((m) => m.C % m.NH === 0, 'C must be a multiple of NH'),
);
export type ModelConfig = v.InferOutput<typeof modelConfigSchema>;
