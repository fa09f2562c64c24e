/**
 * A recording of a WASM device as words in its own memory, so that every thread can read it: kernel calls in order.
 *
 * f64 words: an id that no other program has, the number of calls, address and size of the scratch of each thread, then for each call the kernel's number,
 * the number of its arguments and the arguments. Addresses and integers are exact in f64, and so is every f32.
 */
import type { Kernels } from './wasm-module.ts';
import type { Call } from './wasm-ops.ts';

export interface BoundCall {
  kernel: (...args: number[]) => void;
  args: readonly number[];
}

/** Kernels' names in the order of their numbers: that of the module's exports. */
export function kernelNames(module: WebAssembly.Module): string[] {
  return WebAssembly.Module.exports(module).map(({ name }) => name);
}

export function encodeProgram(
  id: number,
  calls: readonly Call[],
  names: readonly string[],
  scratch: number,
  scratchBytes: number,
): Float64Array {
  const words = [id, calls.length, scratch, scratchBytes];
  for (const { kernel, args } of calls) words.push(names.indexOf(kernel), args.length, ...args);
  return Float64Array.from(words);
}

/** The calls of the program at an address, as part `part` of `parts` makes them. `peek` reads an f64. */
export function decodeProgram(
  peek: (at: number) => number,
  program: number,
  names: readonly string[],
  kernels: Kernels,
  part: number,
  parts: number,
): BoundCall[] {
  let at = program + 8;
  const next = () => {
    const word = peek(at);
    at += 8;
    return word;
  };
  const count = next();
  const scratch = next() + next() * part;
  return Array.from({ length: count }, () => {
    const kernel = kernels[names[next()] as string] as BoundCall['kernel'];
    const args = Array.from({ length: next() }, next);
    return { kernel, args: [...args, scratch, part, parts] };
  });
}
