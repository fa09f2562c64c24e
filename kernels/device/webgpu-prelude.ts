/**
 * What comes before every kernel: raw arithmetic of the device's kind, then PF32 on top of it. The same bits in three ways; a device that fails the
 * probe with one way may pass with another, see proven.ts.
 */
import barrier from '../ops/math/pf32-barrier.wgsl?raw';
import plain from '../ops/math/pf32-plain.wgsl?raw';
import soft from '../ops/math/pf32-soft.wgsl?raw';
import pf32 from '../ops/math/pf32.wgsl?raw';

/** `barrier`: f32 that no compiler sees through; `plain`: f32 as it is, for compilers that are known; `soft`: integers only. */
export type Arithmetic = 'barrier' | 'plain' | 'soft';

const preludes: Record<Arithmetic, string> = { barrier, plain, soft };

/** `wgsl`: raw arithmetic of another kind, for tests. */
export function preludeOf(arithmetic: Arithmetic | { wgsl: string }): string {
  const raw = typeof arithmetic === 'string' ? preludes[arithmetic] : arithmetic.wgsl;
  return `${raw}\n${pf32}`;
}
