/**
 * Generation at GPT-2's 124M shape with a cache of keys and values: ours on WASM against onnxruntime-web WASM f32 of the same graph, both in Node with two
 * threads, from the same random weights and prompt, greedy.
 *
 * Each side is a process of its own, told in turn to generate; a ratio is the median over rounds. First ours must give the reference's bits at a small shape, and
 * both sides' logits after the prompt may differ by what 10-bit mantissas explain and no more. The bounded figure is by the clock, as tokens a second are; by CPU-second is beside it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createCpuDevice } from '#kernels/device/cpu.ts';
import { createWasmDevice } from '#kernels/device/wasm.ts';
import { Generator, weightsFrom } from '#kernels/model/generate.ts';
import { initialWeights } from '#kernels/model/init.ts';
import { gpt2Small } from '#kernels/programs/testing/gpt2-step.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { ensureWasm } from '#scripts/build-wasm.ts';
import { digestOf } from '../kernel/inputs.ts';
import { bounded, information, median } from '../rig/duel.ts';
import type { Answer, GenerateSetup, Order } from './generate-child.ts';

const sides = ['atoll', 'ort'] as const;
type SideName = (typeof sides)[number];
const setup = { policy: 'i10sr', threads: 2, promptLength: 32 } as const;
/** Root mean square of the logits' difference, relative to that of the logits. */
const logitsTolerance = 0.03;

type Opened = Extract<Answer, { kind: 'open' }>;
type Generated = Extract<Answer, { kind: 'generate' }>;

class Side {
  private readonly process: ChildProcess;

  constructor() {
    const hooks = import.meta.resolve('#scripts/raw-hooks.ts');
    const file = fileURLToPath(new URL('generate-child.ts', import.meta.url));
    const options = { execArgv: ['--import', hooks, '--max-old-space-size=8192'] };
    this.process = fork(file, [], { ...options, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  }

  private async ask(order: Order): Promise<Answer> {
    this.process.send(order);
    const ended = once(this.process, 'exit').then(([code]) => {
      throw new Error(`The process ended with ${String(code)}.`);
    });
    const answered = once(this.process, 'message').then(([answer]) => answer as Answer);
    const answer = await Promise.race([answered, ended]);
    if (answer.kind === 'failed') throw new Error(answer.message);
    return answer;
  }

  open(given: GenerateSetup): Promise<Opened> {
    return this.ask({ kind: 'open', setup: given }) as Promise<Opened>;
  }

  generate(count: number): Promise<Generated> {
    return this.ask({ kind: 'generate', count }) as Promise<Generated>;
  }

  close(): void {
    this.process.kill();
  }
}

export async function generateRows(
  quick: boolean,
  say: (line: string) => void,
  model: ModelConfig = gpt2Small,
): Promise<BenchRow[]> {
  await ensureWasm();
  const opened = new Map<SideName, Side>();
  try {
    await checkBits();
    say('generation, 124M: loading both sides');
    const prompts = new Map<SideName, Opened>();
    for (const name of sides) {
      const side = new Side();
      opened.set(name, side);
      prompts.set(name, await side.open({ side: name, model, ...setup }));
    }
    compare(prompts);
    const runs = await takeTurns(opened, quick ? { rounds: 3, count: 8 } : { rounds: 7, count: 16 });
    return rowsOf(runs, prompts, say);
  } catch (error) {
    const why = (error as Error).message.split('\n')[0] as string;
    say(`  generation failed: ${why}`);
    return [bounded('generation 124M / onnxruntime-web', NaN, 'x', { atLeast: 1, aim: 2 })];
  } finally {
    for (const side of opened.values()) side.close();
  }
}

const small: ModelConfig = { L: 2, C: 96, NH: 3, T: 64, V: 300, biases: true };

/** Throws unless WASM with these threads gives the reference's logits, bit for bit, at a shape that the reference can do. */
async function checkBits(): Promise<void> {
  const tokens = Array.from({ length: 40 }, (_, i) => (i * i * 7) % small.V);
  const source = weightsFrom(small, initialWeights(small, 1));
  const digests: string[] = [];
  for (const device of [createCpuDevice(), await createWasmDevice({ threads: setup.threads })]) {
    const generator = await Generator.load(device, source, setup.policy);
    digests.push(await digestOf(await generator.logits(tokens)));
    device.destroy();
  }
  if (digests[0] !== digests[1]) throw new Error('The bits are not the reference’s.');
}

/** Throws unless both sides computed the same model. */
function compare(prompts: ReadonlyMap<SideName, Opened>): void {
  const [own, other] = sides.map((name) => prompts.get(name)?.logits ?? []) as [number[], number[]];
  const square = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0);
  const error = Math.sqrt(square(own.map((x, i) => x - (other[i] ?? NaN))) / square(other));
  if (!(error < logitsTolerance)) throw new Error(`The sides' logits differ by ${error}.`);
}

type Runs = ReadonlyMap<SideName, Generated[]>;

async function takeTurns(
  opened: ReadonlyMap<SideName, Side>,
  { rounds, count }: { rounds: number; count: number },
): Promise<Runs> {
  const runs = new Map<SideName, Generated[]>(sides.map((name) => [name, []]));
  for (const side of opened.values()) await side.generate(count);
  for (let round = 0; round < rounds; round++) {
    for (const [name, side] of opened) runs.get(name)?.push(await side.generate(count));
  }
  return runs;
}

function rowsOf(runs: Runs, prompts: ReadonlyMap<SideName, Opened>, say: (line: string) => void): BenchRow[] {
  const speeds = (name: SideName, what: 'seconds' | 'cpuSeconds') =>
    (runs.get(name) ?? []).map((run) => run.tokens.length / run[what]);
  const against = (what: 'seconds' | 'cpuSeconds') => {
    const others = speeds('ort', what);
    return median(speeds('atoll', what).map((speed, round) => speed / (others[round] as number)));
  };
  const rows = [
    bounded('generation 124M / onnxruntime-web', against('seconds'), 'x', { atLeast: 1, aim: 2 }),
    information('generation 124M / onnxruntime-web, per CPU-second', against('cpuSeconds'), 'x'),
  ];
  for (const name of sides) {
    rows.push(
      information(`generation 124M ${name}`, median(speeds(name, 'seconds')), 'tokens/s'),
      information(`generation 124M ${name}, CPU`, median(speeds(name, 'cpuSeconds')), 'tokens/CPU-s'),
      information(`generation 124M ${name}, prompt`, prompts.get(name)?.prefillSeconds ?? NaN, 's'),
    );
  }
  for (const { id, value, unit } of rows) say(`  ${id}: ${value} ${unit}`);
  return rows;
}
