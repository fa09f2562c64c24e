/**
 * A device that times every op: each becomes a recording of its own, and `run` waits for it. For measurements; slower than the device itself where
 * handing work over costs time.
 */
import type { Device, Ops, Recording } from './device.ts';

export interface Profile {
  /** Seconds by op. */
  readonly seconds: Map<string, number>;
  /** How often each ran. */
  readonly counts: Map<string, number>;
}

interface ProfiledRecording extends Recording {
  readonly steps: readonly { name: string; recording: Recording }[];
}

/** `now` in milliseconds. Times are right where `run` resolves when the work is done, as on the reference and on WASM. */
export function profiled(device: Device, now: () => number): { device: Device; profile: Profile } {
  const profile: Profile = { seconds: new Map(), counts: new Map() };
  return { device: wrap(device, profile, now), profile };
}

function wrap(device: Device, profile: Profile, now: () => number): Device {
  const add = (to: Map<string, number>, name: string, by: number) => to.set(name, (to.get(name) ?? 0) + by);
  return {
    ...device,
    record(build) {
      const steps: ProfiledRecording['steps'][number][] = [];
      let names: string[] = [];
      device.record((ops) => {
        names = Object.keys(ops);
      });
      const op = (name: string) => (args: never) => {
        const recording = device.record((ops) => (ops[name as keyof Ops] as (args: never) => void)(args));
        steps.push({ name, recording });
      };
      build(Object.fromEntries(names.map((name) => [name, op(name)])) as unknown as Ops);
      return { ops: steps.length, steps } as ProfiledRecording;
    },
    async run(recording) {
      for (const { name, recording: step } of (recording as ProfiledRecording).steps) {
        const start = now();
        await device.run(step);
        add(profile.seconds, name, (now() - start) / 1000);
        add(profile.counts, name, 1);
      }
    },
    scope: () => wrap(device.scope(), profile, now),
  };
}
