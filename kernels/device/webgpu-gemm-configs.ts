/**
 * The kernels and workgroup shapes that GEMM can have on a real GPU, by name. No one of them serves all GPUs, so webgpu-tuning.ts tries them; none
 * changes a bit.
 */
import type { Bits } from '../ops/quantize/spec.ts';

export interface GemmConfig {
  /** `tile`: operands from memory (gemm.wgsl, gemm-i15.wgsl); `shared`: through workgroup memory; `dot4`: 7 bits, packed, integer dot products. */
  readonly kind: 'tile' | 'shared' | 'dot4';
  /** Invocations of a workgroup along columns and rows; each computes 8 x 8. */
  readonly WX: number;
  readonly WY: number;
  /** vec4 steps that a workgroup stages at once: 4 elements each, or 16 packed ones. */
  readonly BK4: number;
  /** Products of fewer rows or columns take the usual kernel: packing would cost more than it saves. */
  readonly least?: number;
}

const tile = (WX: number, WY: number): GemmConfig => ({ kind: 'tile', WX, WY, BK4: 1 });
const shared = (WX: number, WY: number, BK4: number): GemmConfig => ({ kind: 'shared', WX, WY, BK4 });
const dot4 = (WX: number, WY: number, BK4: number): GemmConfig => ({ kind: 'dot4', WX, WY, BK4, least: 48 });

/** By rows x columns of a workgroup's tile, the likely best first: the budget may end the trial early. At most 16 KiB of workgroup memory. */
export const gemmConfigs: Readonly<Record<string, GemmConfig>> = {
  'dot4 64x64': dot4(8, 8, 2),
  'dot4 128x64': dot4(8, 16, 2),
  'shared 64x64': shared(8, 8, 4),
  '64x64': tile(8, 8),
  'shared 128x64': shared(8, 16, 4),
  '64x128': tile(16, 8),
  'shared 128x128': shared(16, 16, 2),
  '128x64': tile(8, 16),
  '32x64': tile(8, 4),
  '32x32': tile(4, 4),
};
export const defaultConfig = '64x64';
export const usualConfig = gemmConfigs[defaultConfig] as GemmConfig;

/** Whether the kernel of a configuration multiplies mantissas of this width, where the GPU has (`packed`) or lacks integer dot products. */
export function isFor({ kind }: GemmConfig, nb: Bits, packed: boolean): boolean {
  if (kind === 'dot4') return nb === 7 && packed;
  return kind === 'tile' || nb < 15;
}

/** Names of those that `isFor` allows. */
export function configsFor(nb: Bits, packed: boolean): string[] {
  return Object.keys(gemmConfigs).filter((name) => isFor(gemmConfigs[name] as GemmConfig, nb, packed));
}

/** The configuration of every width. */
export type GemmChoice = Record<Bits, GemmConfig>;

export const usualChoice: GemmChoice = { 7: usualConfig, 10: usualConfig, 15: usualConfig };

/** This configuration for every width that it serves, however small a product is: for tests. Throws where there is none of that name. */
export function forcedChoice(name: string, packed: boolean): GemmChoice {
  const named = Object.hasOwn(gemmConfigs, name) ? gemmConfigs[name] : undefined;
  if (!named) throw new Error(`GEMM has no configuration ${name}.`);
  if (named.kind === 'dot4' && !packed) throw new Error('This WebGPU has no integer dot products.');
  const config = { ...named, least: 1 };
  const of = (nb: Bits) => (isFor(config, nb, packed) ? config : usualConfig);
  return { 7: of(7), 10: of(10), 15: of(15) };
}
