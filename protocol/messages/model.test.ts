/** What the family of models may say of itself, and what older documents still mean. */
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { encodeCanonical } from '../codec/cbor.ts';
import { cborCode, cidOfSync } from '../codec/cid.ts';
import {
  decodeTokens,
  encodeTokens,
  familyName,
  type ModelConfig,
  modelConfigSchema,
  tokenBytes,
} from './model.ts';

const plain: ModelConfig = { L: 2, C: 64, NH: 4, T: 32, V: 256 };
const llama: ModelConfig = {
  ...plain,
  norm: 'rms',
  mlp: 'swiglu',
  positions: 'rotary',
  NKV: 2,
  HID: 176,
  tied: false,
  ropeTheta: 0x461c4000,
};

describe('model config', () => {
  it('of before is the same document as ever', () => {
    const parsed = v.parse(modelConfigSchema, plain);
    expect(Object.keys(parsed)).toEqual(['L', 'C', 'NH', 'T', 'V']);
    expect(cidOfSync(encodeCanonical(parsed), cborCode)).toMatchInlineSnapshot(
      `"bafyreidkki2pmysioi5if3nrloqh665gmcldfbkh6xkqdk52tpsdx72apq"`,
    );
  });

  it.each([plain, { ...plain, biases: true }, llama, { ...llama, experts: { E: 8, k: 2 } }])(
    'accepts the members of the family: %j',
    (config) => {
      expect(v.parse(modelConfigSchema, config)).toEqual(config);
    },
  );

  it.each<[Record<string, unknown>, string]>([
    [{ NH: 5 }, 'C must be a multiple of NH'],
    [{ NKV: 3 }, 'NH must be a multiple of NKV'],
    [{ positions: 'rotary', C: 60, NH: 4 }, 'rotary positions need an even C / NH'],
    [{ ropeTheta: 0x461c4000 }, 'ropeTheta is for rotary positions'],
    [{ experts: { E: 2, k: 3 } }, 'a token cannot have more experts than there are'],
    [{ experts: { E: 4, k: 2 }, biases: true }, 'experts have no biases'],
    [{ C: 8192, NH: 64, V: 131_072 }, 'a parameter may have 2^30 elements at most'],
    [{ C: 8192, NH: 64, HID: 65_536, mlp: 'swiglu' }, 'a parameter may have 2^30 elements at most'],
  ])('refuses %j', (change, message) => {
    const { issues } = v.safeParse(modelConfigSchema, { ...plain, ...change });
    expect(issues?.map((issue) => issue.message)).toEqual([message]);
  });

  it.each([{ norm: 'batch' }, { tied: 1 }, { HID: 4.5 }, { dropout: 0 }, { ropeTheta: 0 }])(
    'refuses what it does not know: %j',
    (change) => {
      expect(v.safeParse(modelConfigSchema, { ...plain, ...change }).success).toBe(false);
    },
  );

  it.each([
    [256, [0, 255, 7], 3],
    [50_257, [0, 50_256, 258], 6],
    [131_072, [0, 131_071, 65_537], 12],
  ])('with V = %i gives back the tokens it encoded', (V, tokens, size) => {
    const bytes = encodeTokens(tokens, { V });
    expect(bytes).toHaveLength(size);
    expect([...decodeTokens(bytes, { V })]).toEqual(tokens);
  });

  it('calls a model by what people know it as', () => {
    const llama = { ...plain, norm: 'rms', mlp: 'swiglu', positions: 'rotary' } as const;
    const experts = { ...llama, experts: { E: 4, k: 2 } };
    const names = [plain, { ...plain, biases: true }, llama, experts].map(familyName);
    expect(names).toEqual(['GPT', 'GPT-2', 'Llama', 'Llama with 4 experts']);
  });

  it('says how wide tokens are', () => {
    expect([2, 256, 257, 65_536, 65_537].map((V) => tokenBytes({ V }))).toEqual([1, 1, 2, 2, 4]);
  });
});
