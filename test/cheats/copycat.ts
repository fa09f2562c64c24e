/**
 * The copycat: commits the very commitment that a victim made for the same unit, and reveals the victim's salt and result as its own, with
 * good signatures of its own. What the victim sends is handed to it out of band, which is more than any real copycat would have.
 */
import { decodeWorkunit, workunitId, type Result } from '#protocol/messages/workunit.ts';
import { type Cid, cborCode, cidOfSync, digestOfCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { FrameOf, FromContributor } from '#protocol/messages/frames.ts';
import { toHex } from '#protocol/messages/hex.ts';
import type { Hex } from 'viem';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { Compute, RuntimePorts, Transport } from '#workers/runtime/ports.ts';
import { withTimeLimit } from '#workers/runtime/timing.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { tapped } from './wiretap.ts';

interface Stolen {
  commitment: Hex;
  reveal: { salt: Hex; result: Uint8Array } | null;
}

/** What was overheard, by unit. One loot may have many victims; the first one of a unit counts. */
export class Loot {
  readonly #units = new Map<Cid, Stolen>();
  readonly #waiting = new Set<() => void>();

  commitment(unit: Cid, commitment: Hex): void {
    if (!this.#units.has(unit)) this.#units.set(unit, { commitment, reveal: null });
    this.#wake();
  }

  reveal(unit: Cid, salt: Hex, result: Uint8Array): void {
    const stolen = this.#units.get(unit);
    if (stolen) stolen.reveal ??= { salt, result };
    this.#wake();
  }

  get(unit: Cid): Stolen | undefined {
    return this.#units.get(unit);
  }

  /** Resolves when `read` finds something. Throws when the signal fires. */
  async wait<T>(read: () => T | null | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const found = read();
      if (found !== null && found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}

/** The victim's transport, overheard: what it commits and reveals goes to the loot, and then where it should. */
export function overheard(transport: Transport, loot: Loot): Transport {
  const units = new Map<Hex, Cid>();
  return tapped(transport, {
    incoming(frame) {
      if (frame.t === 'lease') units.set(frame.assignment, workunitId(decodeWorkunit(frame.unit)));
      return frame;
    },
    outgoing(frame) {
      const unit = 'assignment' in frame ? units.get(frame.assignment) : undefined;
      if (unit && frame.t === 'commit') loot.commitment(unit, frame.commitment);
      if (unit && frame.t === 'reveal') loot.reveal(unit, frame.salt, frame.result);
      return frame;
    },
  });
}

export interface Copycat {
  control: ContributorControl;
  /** Assignments on which a stolen commitment was committed, and those on which the theft was revealed. */
  readonly committed: readonly Hex[];
  readonly revealed: readonly Hex[];
}

export function createCopycat(ports: RuntimePorts, loot: Loot): Copycat {
  const units = new Map<Hex, Cid>();
  const committed: Hex[] = [];
  const revealed: Hex[] = [];
  const life = new AbortController();
  let network: Hex = '0x';
  const { signer } = ports;

  const commit = async (frame: FrameOf<FromContributor, 'commit'>): Promise<FromContributor> => {
    const { assignment } = frame;
    const { commitment } = loot.get(units.get(assignment) ?? '') ?? frame;
    committed.push(assignment);
    return {
      ...frame,
      commitment,
      signature: await signer.sign(network, 'Commit', { assignment, commitment }),
    };
  };
  const reveal = async (frame: FrameOf<FromContributor, 'reveal'>): Promise<FromContributor> => {
    const { assignment } = frame;
    const { salt, result } = await loot.wait(
      () => loot.get(units.get(assignment) ?? '')?.reveal,
      life.signal,
    );
    const digest = toHex(digestOfCid(cidOfSync(result, cborCode)));
    const signature = await signer.sign(network, 'Reveal', { assignment, salt, digest });
    revealed.push(assignment);
    return { t: 'reveal', assignment, salt, result, signature };
  };

  const transport = tapped(ports.transport, {
    incoming(frame) {
      if (frame.t === 'challenge') network = frame.network;
      if (frame.t === 'lease') units.set(frame.assignment, workunitId(decodeWorkunit(frame.unit)));
      return frame;
    },
    outgoing: (frame) =>
      frame.t === 'commit' ? commit(frame) : frame.t === 'reveal' ? reveal(frame) : frame,
  });
  const honest = createRuntime({ ...ports, transport, compute: idleCompute(ports, loot) });
  const control: ContributorControl = {
    ...bound(honest),
    stop: async () => {
      life.abort(new AtollError('cancelled', 'The copycat stops.'));
      await honest.stop();
    },
  };
  return { control, committed, revealed };
}

/** How long it waits for a victim to commit to the same unit before it gives the unit back. */
const patienceMs = 5_000;

/** Computes nothing: waits until a victim has committed to the unit. The result is never seen, the stolen one takes its place. */
function idleCompute({ compute: honest, clock }: RuntimePorts, loot: Loot): Compute {
  return {
    async open(signal) {
      const device = await honest.open(signal);
      const { info, programs, probeDigest, lost } = device;
      return {
        info,
        programs,
        probeDigest,
        lost,
        probe: (stop) => device.probe(stop),
        close: () => device.close(),
        async execute(unit, { blocks, signal: stop }): Promise<Result> {
          const id = workunitId(unit);
          const nobody = 'Nobody to copy from.';
          await withTimeLimit(clock, patienceMs, stop, nobody, (either) =>
            loot.wait(() => loot.get(id), either),
          );
          return { v: 1, unit: id, outputs: { none: await blocks.put(new Uint8Array([0])) } };
        },
      };
    },
  };
}

function bound(control: ContributorControl): ContributorControl {
  return {
    start: () => control.start(),
    pause: () => control.pause(),
    resume: () => control.resume(),
    stop: () => control.stop(),
    subscribe: (onView) => control.subscribe(onView),
    forgetBlocks: () => control.forgetBlocks(),
  };
}
