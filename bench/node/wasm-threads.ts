/** One training step on WebAssembly in Node: all cores against one thread, by the clock, in turn. Both must give the same bits. */
import { availableParallelism } from 'node:os';
import { createDevice } from '#kernels/device/create.ts';
import { digestWords } from '#kernels/vectors/digest.ts';
import type { BenchRow } from '#scripts/bench.ts';
import { ensureWasm } from '#scripts/build-wasm.ts';
import { bounded, information, median } from '../rig/duel.ts';
import { trainerOn } from '../train/ours.ts';
import { windowSets } from '../train/shape.ts';

/** Four layers of GPT-2's smallest. */
const model = { L: 4, C: 768, NH: 12, T: 256, V: 4096 };
const batch = 4;

export async function threadRows(say: (line: string) => void, quick: boolean): Promise<BenchRow[]> {
  await ensureWasm();
  const cores = availableParallelism();
  const all = await stepper(cores);
  const one = await stepper(1);
  const seconds = { all: [] as number[], one: [] as number[] };
  // One, all, all, one: what drifts meanwhile hits both alike.
  for (let round = 0; round < (quick ? 1 : 8); round++) {
    seconds.one.push(await one.step(2 * round));
    seconds.all.push(await all.step(2 * round), await all.step(2 * round + 1));
    seconds.one.push(await one.step(2 * round + 1));
  }
  const [allDigest, oneDigest] = [await all.digest(), await one.digest()];
  all.close();
  one.close();
  if (allDigest !== oneDigest) throw new Error('One thread and all of them gave other weights.');
  const gain = median(seconds.one.map((own, i) => own / (seconds.all[i] as number)));
  say(`  ${cores} threads ${median(seconds.all).toFixed(3)} s, one ${median(seconds.one).toFixed(3)} s`);
  return [
    bounded('wasm, all cores / one thread', gain, 'x', { atLeast: 1.7, aim: 1.9 }),
    information('wasm, cores', cores, ''),
    information('train step wasm, all cores', median(seconds.all), 's'),
    information('train step wasm, one thread', median(seconds.one), 's'),
  ];
}

async function stepper(threads: number) {
  const device = await createDevice('wasm', { threads });
  const trainer = trainerOn(device, { kind: 'train', contestant: 'atoll-wasm', model, batch });
  const { weights } = trainer;
  if (!weights) throw new Error('The trainer does not show its weights.');
  await trainer.step(0);
  return {
    async step(index: number): Promise<number> {
      const from = performance.now();
      await trainer.step(index % windowSets);
      return (performance.now() - from) / 1e3;
    },
    digest: async () => digestWords(new Uint32Array((await weights()).buffer)),
    close: () => device.destroy(),
  };
}
