/**
 * Hardware tiers, from what a device says of its memory and what was measured of its speed: shown to people, and who is asked first for the
 * large units of a model. Nothing hangs on a lie: a device that claims more than it has gives its leases back, or loses them.
 */
import type { Tier } from '../record/rows.ts';

const gib = 2 ** 30;

/** Operations a millisecond: some 5e4 is one thread of WebAssembly, 5e6 a small graphics card. */
const speeds = { participant: 1e4, miner: 5e6, whale: 1e8 } as const;
const memories = { participant: 3 * gib, whale: 20 * gib } as const;

/** Null is unknown: neither speaks against a participant. */
export function tierOf(memoryBytes: number | null, speed: number | null): Tier {
  const memory = memoryBytes ?? memories.participant;
  if (memory < memories.participant || (speed !== null && speed < speeds.participant)) return 'mobile';
  if (speed === null || speed < speeds.miner) return 'participant';
  return speed >= speeds.whale && memory >= memories.whale ? 'whale' : 'miner';
}
