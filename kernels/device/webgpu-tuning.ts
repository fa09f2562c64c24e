/**
 * Which kernel and workgroup shape GEMM gets on this GPU for each width: named ones are tried when a device opens, and the fastest is kept.
 *
 * None can change a bit, and none is part of a program's identity; even so the winner must give the reference's bits before it is used. No single
 * shape serves all GPUs: one fixed tile averages 79% of each GPU's own best. Adapters on the CPU have a kernel of their own and are not tuned.
 */
import { matrix } from '../tensor/tensor.ts';
import { createCpuDevice } from './cpu.ts';
import type { Bits } from '../ops/quantize/spec.ts';
import type { Device } from './device.ts';
import { configsFor, defaultConfig, type GemmConfig, gemmConfigs } from './webgpu-gemm-configs.ts';

/** Where choices are kept from one run to the next: IndexedDB in a page's worker, a file in Node, a Map in tests. */
export interface TuningPort {
  get(key: string): string | null | Promise<string | null>;
  set(key: string, value: string): void | Promise<void>;
  /** Told when one of the two, or a trial, failed, which stops no device: the shapes are tried anew the next time. */
  failed?(error: unknown): void;
}

export interface Trial {
  /** Milliseconds of one product. */
  measure(name: string): Promise<number>;
  /** Whether this shape gives the reference's bits. */
  verify(name: string): Promise<boolean>;
  now(): number;
  budgetMs: number;
}

/** The fastest that verifies, of those that the budget lets try; null when none does. Throws what the last one threw when none can be measured. */
export async function chooseConfig(names: readonly string[], trial: Trial): Promise<string | null> {
  const end = trial.now() + trial.budgetMs;
  const times: [name: string, ms: number][] = [];
  let failure: { error: unknown } | null = null;
  for (const name of names) {
    if (times.length > 0 && trial.now() >= end) break;
    try {
      times.push([name, await trial.measure(name)]);
    } catch (error) {
      // A kernel that this driver does not compile: a large workgroup may have too few registers.
      failure = { error };
    }
  }
  if (times.length === 0 && failure) throw failure.error;
  times.sort(([, a], [, b]) => a - b);
  for (const [name] of times) if (await trial.verify(name)) return name;
  return null;
}

export interface TuningTarget {
  device: Device;
  nb: Bits;
  /** The GPU has integer dot products. */
  packed: boolean;
  /** Recordings made from now on use this for mantissas of `nb` bits. */
  use(config: GemmConfig): void;
  /** Adapter and build: a choice is good for no other. */
  key: string;
  port: TuningPort;
  budgetMs?: number;
  /** The product that is timed, and how often. */
  timed?: { M: number; N: number; K: number; count: number };
  signal?: AbortSignal;
}

/** Sets the shape that is kept for this adapter, or tries the shapes and keeps the best. Returns its name. */
export async function tune(target: TuningTarget): Promise<string> {
  const { use, key, port, nb, packed } = target;
  const names = configsFor(nb, packed);
  const kept = await attempt(port, () => port.get(key));
  if (kept !== null && names.includes(kept)) {
    use(gemmConfigs[kept] as GemmConfig);
    return kept;
  }
  const chosen = await chooseConfig(names, trialOn(target));
  use(gemmConfigs[chosen ?? defaultConfig] as GemmConfig);
  if (chosen !== null) await attempt(port, () => port.set(key, chosen));
  return chosen ?? defaultConfig;
}

/** What `call` gives, or null: storage that fails costs a trial, never a device. */
async function attempt<T>(port: TuningPort, call: () => T | Promise<T>): Promise<T | null> {
  try {
    return await call();
  } catch (error) {
    port.failed?.(error);
    return null;
  }
}

const usual = { M: 512, N: 512, K: 512, count: 8 } as const;
/** Tiles and a bit, and many of what a workgroup stages at once. */
const proven = { M: 67, N: 131, K: 301 } as const;

function trialOn({ device, use, nb, budgetMs = 1200, timed = usual, signal }: TuningTarget): Trial {
  const select = (name: string) => {
    signal?.throwIfAborted();
    use(gemmConfigs[name] as GemmConfig);
  };
  return {
    budgetMs,
    now: () => performance.now(),
    async measure(name) {
      select(name);
      const scope = device.scope();
      try {
        const product = productOn(scope, nb, timed);
        // Compiles, and warms up.
        await product.run(1);
        const start = performance.now();
        await product.run(timed.count);
        return (performance.now() - start) / timed.count;
      } finally {
        scope.destroy();
      }
    },
    async verify(name) {
      select(name);
      const scope = device.scope();
      try {
        const words = await productOn(scope, nb, proven).run(1);
        const expected = await productOn(createCpuDevice(), nb, proven).run(1);
        return words.every((word, i) => word === expected[i]);
      } finally {
        scope.destroy();
      }
    },
  };
}

/** Quantised products of numbers that nobody chose; `run` waits for the last one's bits. */
function productOn(device: Device, nb: Bits, { M, N, K }: { M: number; N: number; K: number }) {
  const upload = (count: number, seed: number) => {
    const tensor = device.tensor(count);
    device.write(
      tensor,
      Float32Array.from({ length: count }, (_, i) => ((Math.imul(i + seed, 0x9e3779b1) >> 8) | 1) / 2 ** 23),
    );
    return tensor;
  };
  const [a, b, dst] = [upload(M * K, 1), upload(N * K, 7), device.tensor(M * N)];
  const [qa, qb] = [device.quantized(1, M, K), device.quantized(1, N, K)];
  const operands = device.record((ops) => {
    ops.quantize({ src: matrix(a, M, K), dst: qa, nb });
    ops.quantize({ src: matrix(b, N, K), dst: qb, nb });
  });
  const product = device.record((ops) => ops.gemm({ a: qa, b: qb, dst: matrix(dst, M, N), nb }));
  let quantised = false;
  return {
    async run(count: number): Promise<Uint32Array> {
      if (!quantised) await device.run(operands);
      quantised = true;
      for (let i = 0; i < count; i++) await device.run(product);
      return new Uint32Array((await device.read(dst)).buffer);
    },
  };
}

/** Names a build by the text of its kernels (FNV-1a): a kernel that changes is tried again. */
export function buildId(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, '0');
}
