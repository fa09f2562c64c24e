/** A model's shape with every default filled in: what `ModelConfig` leaves out means the model as it was before the field existed. */
import type { ModelConfig } from '#protocol/messages/model.ts';
import { fromBits } from '../ops/math/cpu.ts';

export interface Architecture {
  L: number;
  C: number;
  NH: number;
  NKV: number;
  /** Channels of a head. */
  HD: number;
  /** Columns of q, k and v together. */
  QKV: number;
  T: number;
  V: number;
  /** Channels inside the MLP, or inside one expert. */
  HID: number;
  norm: 'layer' | 'rms';
  mlp: 'gelu' | 'swiglu';
  positions: 'learned' | 'rotary';
  biases: boolean;
  tied: boolean;
  experts: { E: number; k: number } | null;
  ropeTheta: number;
}

export function architectureOf(model: ModelConfig): Architecture {
  const { L, C, NH, T, V, NKV = NH } = model;
  const HD = C / NH;
  return {
    L,
    C,
    NH,
    NKV,
    HD,
    QKV: (NH + 2 * NKV) * HD,
    T,
    V,
    HID: model.HID ?? 4 * C,
    norm: model.norm ?? 'layer',
    mlp: model.mlp ?? 'gelu',
    positions: model.positions ?? 'learned',
    biases: model.biases ?? false,
    tied: model.tied ?? true,
    experts: model.experts ?? null,
    ropeTheta: model.ropeTheta === undefined ? 10_000 : fromBits(model.ropeTheta),
  };
}

/** Rows of the MLP's first matrix, of one expert: the gate's and then the other half under SwiGLU. */
export function upRows({ mlp, HID }: Pick<Architecture, 'mlp' | 'HID'>): number {
  return mlp === 'swiglu' ? 2 * HID : HID;
}
