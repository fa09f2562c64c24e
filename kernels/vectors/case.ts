/** One conformance case: inputs from a seed, a recording of ops, and the words of what they leave behind. */
import type { Device, Ops } from '../device/device.ts';
import { scalarCount } from '../ops/adamw/spec.ts';
import type { Quantized, Tensor } from '../tensor/tensor.ts';
import { Random } from './inputs.ts';

export interface Case {
  /** Unique, stable; also seeds the inputs. */
  readonly id: string;
  /** Part of the quick probe that a device runs when it joins. */
  readonly probe: boolean;
  run(device: Device): Promise<Uint32Array>;
  /** What goes in, where the device does not see it. */
  inputs?(): Uint32Array;
}

/** Makes and fills tensors for one case. */
export class Bench {
  readonly device: Device;
  readonly random: Random;

  constructor(device: Device, random: Random) {
    this.device = device;
    this.random = random;
  }

  from(words: Float32Array | Uint32Array): Tensor {
    const tensor = this.device.tensor(words.length);
    this.device.write(tensor, words);
    return tensor;
  }

  values(count: number, low?: number, high?: number): Tensor {
    return this.from(this.random.values(count, low, high));
  }

  /** Step scalars with a seed for stochastic rounding. */
  scalars(): Tensor {
    const words = new Uint32Array(scalarCount);
    words[0] = this.random.word();
    return this.from(words);
  }

  zeros(count: number): Tensor {
    return this.device.tensor(count);
  }
}

/** What a case does: `record` is recorded and run once, then `out` is read in order. */
export interface Plan {
  record: (ops: Ops) => void;
  out: readonly (Tensor | Quantized)[];
}

export function opCase(id: string, plan: (bench: Bench) => Plan, options: { probe?: boolean } = {}): Case {
  return {
    id,
    probe: options.probe ?? false,
    async run(device) {
      const scope = device.scope();
      try {
        const { record, out } = plan(new Bench(scope, Random.of(id)));
        await scope.run(scope.record(record));
        const parts: Uint32Array[] = [];
        for (const result of out) parts.push(...(await wordsOf(scope, result)));
        return concat(parts);
      } finally {
        scope.destroy();
      }
    },
  };
}

/** The same case, also run when a device joins. */
export function probed(given: Case): Case {
  return { ...given, probe: true };
}

async function wordsOf(device: Device, result: Tensor | Quantized): Promise<Uint32Array[]> {
  if ('mantissas' in result) {
    const { mantissas, exponents } = await device.readQuantized(result);
    return [mantissas, exponents].map(
      ({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length),
    );
  }
  const { buffer, byteOffset, length } = await device.read(result);
  return [new Uint32Array(buffer, byteOffset, length)];
}

export function concat(parts: readonly Uint32Array[]): Uint32Array {
  const words = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    words.set(part, at);
    at += part.length;
  }
  return words;
}
