/**
 * The optimiser's scalars as f32 bits: learning rate and Adam's bias corrections for every local step.
 *
 * Powers are not portable, so beta^t is made by repeated f64 multiplication, which IEEE 754 pins; then one rounding to f32.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Training } from '#protocol/messages/job.ts';

const view = new DataView(new ArrayBuffer(4));

export function bitsToFloat(bits: number): number {
  view.setUint32(0, bits);
  return view.getFloat32(0);
}

/** Bits of the f32 nearest to `value`. */
export function floatToBits(value: number): number {
  view.setFloat32(0, Math.fround(value));
  return view.getUint32(0);
}

/** Smallest magnitude that NUMERICS allows besides zero: 2^-100. */
const leastBits = 0x0d800000;
const greatestBits = 0x7f7fffff;

/** Throws `bad_input` on a real parameter outside what PF32 can hold or the optimiser can use. */
export function checkReals(training: Training): void {
  for (const name of ['lr', 'beta1', 'beta2', 'eps', 'weightDecay', 'outerLr', 'outerMomentum'] as const) {
    const bits = training[name];
    if (bits !== 0 && (bits < leastBits || bits > greatestBits)) {
      throw badReal(name, 'must be 0 or a positive finite f32 of at least 2^-100');
    }
  }
  for (const name of ['beta1', 'beta2', 'outerMomentum'] as const) {
    if (bitsToFloat(training[name]) >= 1) throw badReal(name, 'must be below 1');
  }
  if (training.eps === 0) throw badReal('eps', 'must not be 0');
}

function badReal(name: string, rule: string): AtollError {
  return new AtollError('bad_input', `The job's ${name} ${rule}.`, { details: { name } });
}

export interface StepScalars {
  lr: number[];
  bias1: number[];
  bias2: number[];
}

/** Bits for the `steps` local steps of a round; t counts from 1 over the whole job. */
export function stepScalars(training: Training, round: number): StepScalars {
  const first = (round - 1) * training.steps + 1;
  const peak = bitsToFloat(training.lr);
  const scalars: StepScalars = { lr: [], bias1: [], bias2: [] };
  const power1 = powers(bitsToFloat(training.beta1), first, training.steps);
  const power2 = powers(bitsToFloat(training.beta2), first, training.steps);
  for (let i = 0; i < training.steps; i++) {
    const t = first + i;
    scalars.lr.push(floatToBits(t < training.warmup ? (peak * t) / training.warmup : peak));
    scalars.bias1.push(floatToBits(1 / (1 - (power1[i] as number))));
    scalars.bias2.push(floatToBits(1 / (1 - (power2[i] as number))));
  }
  return scalars;
}

/** beta^first .. beta^(first + count - 1), by repeated multiplication. */
function powers(beta: number, first: number, count: number): number[] {
  let power = 1;
  for (let t = 1; t < first && power > 0; t++) power *= beta;
  const found: number[] = [];
  for (let i = 0; i < count; i++) found.push((power *= beta));
  return found;
}
