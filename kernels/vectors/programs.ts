/**
 * One whole workunit of every program, under every policy, small enough for a software GPU: two lanes of train.steps, train.outer on their updates,
 * eval.loss of the outcome; and, for other members of the family under one policy each, the two programs that know the model, and generation. The CIDs of
 * what comes out are committed in programs.json; every backend must give them.
 */
import { type Cid, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { encodeTokens, type ModelConfig, type Policy, policySchema } from '#protocol/messages/model.ts';
import { resultDigest, type Workunit } from '#protocol/messages/workunit.ts';
import type { Device } from '../device/device.ts';
import { littleEndian } from '../model/checkpoint.ts';
import { Generator } from '../model/generate.ts';
import { initialCheckpoint } from '../model/init.ts';
import { StoredCheckpoint } from '../model/training-state.ts';
import { constant, lowbias32, toBits } from '../ops/math/cpu.ts';
import { executeWorkunit } from '../programs/registry.ts';

/** Odd sizes on purpose: no dimension is a multiple of a tile. */
const model: ModelConfig = { L: 2, C: 12, NH: 3, T: 9, V: 37 };

interface Member {
  policy: Policy;
  model: ModelConfig;
  /** Clip gradients to a norm that a first step passes. */
  clip?: boolean;
}

/** Several tiles of attention, tokens of two bytes, odd sizes. */
const family: Record<string, Member> = {
  gpt2: { policy: 'i10sr', model: { L: 1, C: 12, NH: 2, T: 131, V: 301, biases: true }, clip: true },
  llama: {
    policy: 'i8sr',
    model: {
      L: 2,
      C: 24,
      NH: 6,
      NKV: 2,
      HID: 34,
      T: 10,
      V: 37,
      norm: 'rms',
      mlp: 'swiglu',
      positions: 'rotary',
      tied: false,
    },
  },
  experts: {
    policy: 'i15',
    model: { L: 1, C: 12, NH: 2, T: 11, V: 37, HID: 18, norm: 'rms', experts: { E: 5, k: 2 } },
  },
};
const steps = 3;
const batch = 2;
const bits = (x: number) => toBits(constant(x));

/** Result CIDs by `policy/unit`. */
export type ProgramDigests = Record<string, Cid>;

export async function runProgramVectors(
  device: Device,
  policies: readonly Policy[] = policySchema.options,
): Promise<ProgramDigests> {
  const digests: ProgramDigests = {};
  for (const policy of policies) {
    const blocks = new MemoryBlocks();
    for await (const [name, digest] of round(device, policy, blocks)) digests[`${policy}/${name}`] = digest;
  }
  for (const [name, member] of Object.entries(family)) {
    if (!policies.includes(member.policy)) continue;
    for await (const [unit, digest] of familyUnits(device, member)) digests[`${name}/${unit}`] = digest;
  }
  return digests;
}

async function* familyUnits(
  device: Device,
  { policy, model: config, clip }: Member,
): AsyncGenerator<[string, Cid]> {
  const blocks = new MemoryBlocks();
  const checkpoint = await initialCheckpoint(config, 12, blocks);
  const tokens = await blocks.put(windows(400, steps * batch, config));
  const unit = trainUnit(policy, checkpoint, tokens, 9);
  const params = { ...unit.params, ...(clip ? { clipNorm: bits(0.25) } : {}) };
  const result = await executeWorkunit({ ...unit, params }, { device, blocks });
  yield [`train.steps+${policy}`, resultDigest(result)];
  const evaluation = evalUnit(policy, checkpoint, await blocks.put(windows(500, 2, config)), 2);
  yield [`eval.loss+${policy}`, resultDigest(await executeWorkunit(evaluation, { device, blocks }))];
  yield [`generate+${policy}`, await generation(device, policy, await StoredCheckpoint.open(blocks, checkpoint))];
}

/** Tokens drawn after a prompt, and the logits that follow them. */
async function generation(device: Device, policy: Policy, source: StoredCheckpoint): Promise<Cid> {
  const scope = device.scope();
  try {
    const generator = await Generator.load(scope, source, policy);
    const prompt = Array.from({ length: source.model.T - 5 }, (_, i) => lowbias32(600 + i) % source.model.V);
    const tokens: number[] = [];
    const options = { maxTokens: 5, temperature: 0.8, topK: 20, seed: 3 };
    for await (const token of generator.generate(prompt, options)) tokens.push(token);
    const logits = await generator.logits([...prompt, ...tokens]);
    return cidOfSync(littleEndian(Float32Array.of(...tokens, ...logits)), rawCode);
  } finally {
    scope.destroy();
  }
}

async function* round(device: Device, policy: Policy, blocks: BlockStore): AsyncGenerator<[string, Cid]> {
  const checkpoint = await initialCheckpoint(model, 11, blocks);
  const updates: Record<string, Cid> = {};
  for (const lane of [0, 1]) {
    const tokens = await blocks.put(windows(100 + lane, steps * batch));
    const unit = trainUnit(policy, checkpoint, tokens, lane);
    const result = await executeWorkunit(unit, { device, blocks });
    updates[`update${lane}`] = result.outputs['update'] as Cid;
    yield [`train.steps/${lane}`, resultDigest(result)];
  }
  const outer = await executeWorkunit(
    {
      v: 1,
      program: 'train.outer@2',
      inputs: { checkpoint, ...updates },
      params: { lanes: 2, steps, outerLr: bits(1), outerMomentum: bits(0.7) },
      seed: 1,
    },
    { device, blocks },
  );
  yield ['train.outer', resultDigest(outer)];
  // Whoever holds the old checkpoint comes to the new one, by the packed update too.
  for (const name of ['update', 'packed']) {
    const applied = await executeWorkunit(
      {
        v: 1,
        program: 'train.apply@1',
        inputs: { checkpoint, update0: outer.outputs[name] as Cid },
        params: { rounds: 1, steps, outerLr: bits(1), outerMomentum: bits(0.7), packed: name === 'packed' },
        seed: 0,
      },
      { device, blocks },
    );
    yield [`train.apply/${name}`, applied.outputs['checkpoint'] as Cid];
  }
  const next = outer.outputs['checkpoint'] as Cid;
  // A second round starts from moments that are not zero.
  const again = trainUnit(policy, next, await blocks.put(windows(200, steps * batch)), 5);
  yield ['train.steps/again', resultDigest(await executeWorkunit(again, { device, blocks }))];
  const evaluation = evalUnit(policy, next, await blocks.put(windows(300, 4)), 4);
  yield ['eval.loss', resultDigest(await executeWorkunit(evaluation, { device, blocks }))];
}

function evalUnit(policy: Policy, checkpoint: Cid, tokens: Cid, sequences: number): Workunit {
  return {
    v: 1,
    program: `eval.loss@1+${policy}`,
    inputs: { checkpoint, tokens },
    params: { sequences, batch: 2 },
    seed: 0,
  };
}

function trainUnit(policy: Policy, checkpoint: Cid, tokens: Cid, seed: number): Workunit {
  const perStep = (f: (t: number) => number) => Array.from({ length: steps }, (_, i) => bits(f(i + 1)));
  const products = (beta: number) => {
    let power = 1;
    return Array.from({ length: steps }, () => bits(1 / (1 - (power *= beta))));
  };
  return {
    v: 1,
    program: `train.steps@1+${policy}`,
    inputs: { checkpoint, tokens },
    params: {
      steps,
      batch,
      lr: perStep((t) => 0.003 * t),
      bias1: products(0.9),
      bias2: products(0.99),
      beta1: bits(0.9),
      beta2: bits(0.99),
      eps: bits(1e-8),
      weightDecay: bits(0.1),
    },
    seed,
  };
}

/** `count` windows of T + 1 tokens, as they travel. */
function windows(seed: number, count: number, { T, V }: ModelConfig = model): Uint8Array {
  const tokens = Array.from({ length: count * (T + 1) }, (_, i) => lowbias32(seed * 1000 + i) % V);
  return encodeTokens(tokens, { V });
}
