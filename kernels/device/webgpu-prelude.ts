/**
 * What comes before every kernel: raw arithmetic of the device's kind, then PF32 on top of it. The same bits in three ways; a device that fails the
 * probe with one way may pass with another, see create.ts.
 */
import barrier from '../ops/math/pf32-barrier.wgsl?raw';
import plain from '../ops/math/pf32-plain.wgsl?raw';
import pf32 from '../ops/math/pf32.wgsl?raw';

/** f32 behind a barrier that no compiler sees through; f32 as it is, for compilers that are known; integers only. */
export type Arithmetic = 'barrier' | 'plain';

const preludes: Record<Arithmetic, string> = { barrier, plain };

export function preludeOf(arithmetic: Arithmetic): string {
  return `${preludes[arithmetic]}\n${pf32}`;
}
