/**
 * A WebGPU device that has proven itself: the probe's digest is the reference's, on f32 where that passes, else on integers.
 *
 * WGSL lets a compiler fuse, reassociate and flush more than PF32 allows, and no barrier in a kernel is law. A device whose f32 fails is made again with
 * pf32-soft.wgsl; what fails then too has a fault that integers cannot avoid.
 */
import type { Hex } from 'viem';
import { AtollError } from '#protocol/errors.ts';
import type { Device } from './device.ts';
import { probeDigest, runProbe } from './probe.ts';

export interface Proven {
  device: Device;
  /** What its probe gave: the reference's digest. */
  probe: Hex;
  /** Its f32 failed, so elementwise ops compute with integers; `device.info.label` says so too. */
  soft: boolean;
}

/** What the probe gave. Throws `nonconforming`, or what the probe throws, and destroys the device then. */
export async function prove(device: Device): Promise<Hex> {
  const probe = await runProbe(device).catch((error: unknown) => {
    device.destroy();
    throw error;
  });
  if (probe === probeDigest) return probe;
  device.destroy();
  throw new AtollError(
    'nonconforming',
    `${device.info.label} gave other bits than the reference in the conformance probe. A newer driver often helps.`,
  );
}

/** `make` is called once or twice: first for f32, then with `soft`. Throws `nonconforming`, or what `make` or the probe throws. */
export async function createProvenDevice(
  make: (arithmetic?: 'soft') => Promise<Device>,
  signal?: AbortSignal,
): Promise<Proven> {
  let label = '';
  for (const soft of [false, true]) {
    signal?.throwIfAborted();
    const device = await make(soft ? 'soft' : undefined);
    label = device.info.label;
    const probe = await runProbe(device).catch((error: unknown) => {
      device.destroy();
      throw error;
    });
    if (probe === probeDigest) return { device, probe, soft };
    device.destroy();
  }
  throw new AtollError(
    'nonconforming',
    `${label} gave other bits than the reference in the conformance probe, with f32 and with integers. A newer driver or browser often helps.`,
  );
}
