/**
 * One train.steps unit at GPT-2's 124M shape on WASM, from a checkpoint in files: peak memory of the process, and where the time goes.
 *
 * `node --import ./scripts/raw-hooks.ts kernels/programs/testing/gpt2-step.ts make DIR` writes checkpoint and tokens (about 800 MB);
 * `... run DIR [threads] [policy]` runs the unit in this process and prints a `StepReport` as JSON. `profile` instead of `run` times every op.
 */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Cid } from '#protocol/codec/cid.ts';
import { encodeTokens, type ModelConfig, type Policy, policySchema } from '#protocol/messages/model.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import { parseValue } from '#protocol/codec/cbor.ts';
import { profiled } from '../../device/profile.ts';
import { createWasmDevice } from '../../device/wasm.ts';
import { initialCheckpoint } from '../../model/init.ts';
import { constant, lowbias32, toBits } from '../../ops/math/cpu.ts';
import { executeWorkunit } from '../registry.ts';
import { FileBlocks } from './file-blocks.ts';

/** GPT-2 small at T = 256. */
export const gpt2Small: ModelConfig = { L: 12, C: 768, NH: 12, T: 256, V: 50_257, biases: true };

export interface StepReport {
  threads: number;
  policy: Policy;
  /** Peak resident memory of the process. */
  peakBytes: number;
  wallSeconds: number;
  cpuSeconds: number;
  /** CPU-seconds of ops by name; only when profiled, and then best on one thread: others count while they wait. */
  opSeconds?: Record<string, number>;
  /** Share of those seconds in products (gemm), and in products with what they need (gemm and quantize). */
  gemmShare?: number;
  productShare?: number;
  outputs: Record<string, Cid>;
}

interface Inputs {
  checkpoint: Cid;
  tokens: Cid;
}

/** Writes what the unit needs into `directory`. */
export async function makeStepInputs(directory: string, model = gpt2Small): Promise<Inputs> {
  const blocks = new FileBlocks(directory);
  const checkpoint = await initialCheckpoint(model, 1, blocks);
  const tokens = Array.from({ length: model.T + 1 }, (_, i) => lowbias32(i) % model.V);
  const inputs = { checkpoint, tokens: await blocks.put(encodeTokens(tokens, model)) };
  await writeFile(path.join(directory, 'inputs.json'), JSON.stringify(inputs));
  return inputs;
}

/** Runs one step of batch 1 from what `makeStepInputs` wrote. Peak memory is that of the whole process: run it in one of its own. */
export async function runStep(
  directory: string,
  options: { threads: number; policy: Policy; profile: boolean },
): Promise<StepReport> {
  const { threads, policy } = options;
  const inputs = JSON.parse(await readFile(path.join(directory, 'inputs.json'), 'utf8')) as Inputs;
  const whole = await createWasmDevice({ threads });
  const { device, profile } = profiled(whole, cpuMilliseconds);
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const { outputs } = await executeWorkunit(unitOf(inputs, policy), {
    device: options.profile ? device : whole,
    blocks: new FileBlocks(directory),
  });
  const { user, system } = process.cpuUsage(cpu);
  const report: StepReport = {
    threads,
    policy,
    peakBytes: process.resourceUsage().maxRSS * 1024,
    wallSeconds: (performance.now() - wall) / 1000,
    cpuSeconds: (user + system) / 1e6,
    outputs,
  };
  whole.destroy();
  return options.profile ? { ...report, ...shares(profile.seconds) } : report;
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** encodeRows and decodeRows belong to the unit, not to the step. */
function shares(
  seconds: ReadonlyMap<string, number>,
): Pick<StepReport, 'opSeconds' | 'gemmShare' | 'productShare'> {
  const step = [...seconds].filter(([name]) => !/^(encode|decode)Rows$/.test(name));
  const total = step.reduce((sum, [, s]) => sum + s, 0);
  const of = (name: string) => seconds.get(name) ?? 0;
  return {
    opSeconds: Object.fromEntries([...seconds].sort(([, a], [, b]) => b - a)),
    gemmShare: of('gemm') / total,
    productShare: (of('gemm') + of('quantize')) / total,
  };
}

function unitOf(inputs: Inputs, policy: Policy): Workunit {
  const bits = (x: number) => toBits(constant(x));
  return {
    v: 1,
    program: `train.steps@1+${policy}`,
    inputs: { ...inputs },
    params: {
      steps: 1,
      batch: 1,
      lr: [bits(6e-4)],
      bias1: [bits(1 / (1 - 0.9))],
      bias2: [bits(1 / (1 - 0.95))],
      beta1: bits(0.9),
      beta2: bits(0.95),
      eps: bits(1e-8),
      weightDecay: bits(0.1),
    },
    seed: 7,
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [mode, directory = '', threads = '2', policy = 'i10sr'] = process.argv.slice(2);
  if (mode === 'make') process.stdout.write(`${JSON.stringify(await makeStepInputs(directory))}\n`);
  else {
    const options = { threads: Number(threads), policy: parseValue(policySchema, policy) };
    const report = await runStep(directory, { ...options, profile: mode === 'profile' });
    process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);
  }
}
