/** Contributors and their devices: rows of newcomers and of those who have just been greeted. */
import type { Hex } from 'viem';
import { tierOf } from '../scheduler/tiers.ts';
import type { ContributorRow, DeviceRow } from './rows.ts';
import type { View } from './view.ts';

/** Where a contributor comes from and what it computes on, as far as the connection tells. Nothing of it is trusted. */
export interface Origin {
  /** Its linked wallet; itself without one. */
  owner?: Hex;
  /** Keyed hash of the network prefix; empty where prefixes say nothing. */
  prefix: string;
  device: string;
  vendor: string;
  /** Memory that a unit may take; null when the device does not say. */
  memoryBytes: number | null;
}

export const nowhere: Origin = { prefix: '', device: '', vendor: '', memoryBytes: null };

/** The row of a contributor, new or known, with the origin of its present connection. */
export function greeted(view: View, address: Hex, origin: Origin, now: number): ContributorRow {
  const known = view.contributor(address) ?? newContributor(address, now);
  const { owner = known.owner, prefix, device, vendor } = origin;
  const { speed } = deviceOf(view, address, device);
  const tier = tierOf(origin.memoryBytes, speed);
  return { ...known, owner, prefix, device, vendor, tier, lastSeenAt: now };
}

export function newContributor(address: Hex, now: number): ContributorRow {
  return {
    ...{ address, owner: address, prefix: '', device: '', vendor: '', tier: 'participant', stake: 0n },
    ...{ agreed: 0, rejected: 0, faults: 0, strikes: 0 },
    ...{
      lastRejectedAt: null,
      outlawedAt: null,
      trustedAt: null,
      reviewFrom: null,
      firstSeenAt: now,
      lastSeenAt: now,
    },
  };
}

export function newDevice(contributor: Hex, device: string): DeviceRow {
  return { contributor, device, verified: 0, streak: 0, alone: 0, faults: 0, speed: null };
}

export function contributorOf(view: View, address: Hex, now: number): ContributorRow {
  return view.contributor(address) ?? newContributor(address, now);
}

export function deviceOf(view: View, contributor: Hex, device: string): DeviceRow {
  return view.device(contributor, device) ?? newDevice(contributor, device);
}
