/** Trains a tiny GPT by two workunits and lets it write: the same text on every device. `node examples/train-and-generate.ts [reference]` */
import * as kernels from '#kernels/index.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';

const device = await kernels.createDevice(process.argv[2] === 'reference' ? 'reference' : 'wasm');
const blocks = new MemoryBlocks();
const [model, steps, batch] = [{ L: 1, C: 32, NH: 2, T: 16, V: 128 }, 60, 8];
const checkpoint = await kernels.initialCheckpoint(model, 1, blocks);

// Windows of T + 1 tokens; a token is a byte here.
const words = 'the atoll is one machine of many. ';
const window = (i: number) => words.repeat(2).slice((7 * i) % 34, ((7 * i) % 34) + model.T + 1);
const text = Array.from({ length: steps * batch }, (_, i) => window(i)).join('');
const tokens = await blocks.put(new TextEncoder().encode(text));

async function execute(program: string, inputs: Record<string, string>, params: object, output: string) {
  const unit = { v: 1, program, inputs, params: { ...params }, seed: 1 } as const;
  const { outputs } = await kernels.executeWorkunit(unit, { device, blocks });
  return outputs[output] as string;
}
const training = kernels.trainStepsFrom({ steps, batch, lr: () => 0.01 });
const update = await execute('train.steps@1+i10sr', { checkpoint, tokens }, training, 'update');
const outer = { lanes: 1, steps, outerLr: 0x3f800000, outerMomentum: 0 }; // f32 bits: 1 and 0.
const trained = await execute('train.outer@2', { checkpoint, update0: update }, outer, 'checkpoint');

const weights = await kernels.StoredCheckpoint.open(blocks, trained);
const generator = await kernels.Generator.load(device, weights, 'i10sr');
const generated = generator.generate(new TextEncoder().encode('the '), { maxTokens: 12 });
for await (const token of generated) process.stdout.write(String.fromCharCode(token));
