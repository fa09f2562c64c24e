/**
 * Whatever order the coordinator's frames come in, whatever the link and the person do meanwhile: nothing is thrown out of the runtime, no
 * salt and no output leaves before `open`, and two units never share the device.
 */
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { encodeWorkunit, workunitId } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { settle, until } from './testing/fake-clock.ts';
import { Rig } from './testing/rig.ts';
import { assignment } from './testing/scripted-coordinator.ts';

type Action =
  | { do: 'lease' | 'committed' | 'open' | 'revealed' | 'verdict' | 'stale' | 'problem'; n: number }
  | {
      do:
        | 'welcome'
        | 'idle'
        | 'pullAll'
        | 'garbage'
        | 'drop'
        | 'pause'
        | 'resume'
        | 'lose'
        | 'restart'
        | 'finish';
    }
  | { do: 'advance'; ms: number };

const step = (weight: number, ...kinds: Action['do'][]) => ({
  weight,
  arbitrary: fc.record({
    do: fc.constantFrom(...kinds),
    n: fc.integer({ min: 1, max: 3 }),
    ms: fc.constantFrom(0, 100, 1_000, 20_000, 120_000),
  }) as fc.Arbitrary<Action>,
});
const actions = fc.array(
  fc.oneof(
    step(8, 'lease', 'finish'),
    step(6, 'committed', 'open', 'revealed', 'pullAll'),
    step(3, 'welcome', 'advance'),
    step(2, 'verdict', 'stale', 'problem', 'idle', 'garbage'),
    step(1, 'drop', 'pause', 'resume', 'lose', 'restart'),
  ),
  { maxLength: 60, size: 'max' },
);

const unhandled: unknown[] = [];
const onUnhandled = (error: unknown) => void unhandled.push(error);
beforeEach(() => process.on('unhandledRejection', onUnhandled));
afterEach(() => process.off('unhandledRejection', onUnhandled));

/** What the world saw, in order, to check against what it was told. */
class Witness {
  readonly rig = new Rig();
  readonly opened = new Set<Hex>();
  #gate = Promise.withResolvers<void>();
  #link = 0;
  #frame = 0;

  async act(action: Action): Promise<void> {
    const { rig } = this;
    const { coordinator } = rig;
    const of = 'n' in action ? assignment(action.n) : assignment(0);
    const unit = await rig.unit('n' in action ? action.n : 1);
    if (action.do === 'advance') await rig.clock.advance(action.ms);
    else if (action.do === 'lease')
      coordinator.send({ t: 'lease', assignment: of, unit: encodeWorkunit(unit), leaseMs: 60_000 });
    else if (action.do === 'open') this.#open(of);
    else if (action.do === 'committed' || action.do === 'revealed')
      coordinator.send({ t: action.do, assignment: of });
    else if (action.do === 'verdict') coordinator.verdict(of, workunitId(unit));
    else if (action.do === 'stale') coordinator.sendProblem('stale_lease', of);
    else if (action.do === 'problem') coordinator.sendProblem('storage_failed', of);
    else await this.#actOnAll(action.do);
    await settle(3);
    this.check();
  }

  async #actOnAll(what: Exclude<Action, { n: number } | { ms: number }>['do']): Promise<void> {
    const { coordinator, compute, control } = this.rig;
    const { address } = this.rig.ports.signer;
    if (what === 'welcome') coordinator.send({ t: 'welcome', contributor: address, agreed: 0, credit: 0 });
    else if (what === 'idle') coordinator.send({ t: 'idle', reason: 'Nothing.', retryMs: 500 });
    else if (what === 'pullAll')
      coordinator.send({ t: 'pull', cids: outputs.concat([...this.rig.source.blocks.keys()]) });
    else if (what === 'garbage') coordinator.sendBytes(new Uint8Array([0xa1, 0x61]));
    else if (what === 'drop') await coordinator.drop();
    else if (what === 'pause') await control.pause();
    else if (what === 'resume') await control.resume();
    else if (what === 'lose') compute.devices.at(-1)?.lose();
    else if (what === 'restart') await this.#restart();
    else this.finish();
  }

  #open(of: Hex): void {
    this.opened.add(of);
    this.rig.coordinator.send({ t: 'open', assignment: of });
  }

  async #restart(): Promise<void> {
    await this.rig.control.stop();
    await this.rig.control.start();
  }

  /** Lets what is being computed go on, and holds the next. */
  finish(): void {
    this.#gate.resolve();
    this.#gate = Promise.withResolvers<void>();
    this.rig.compute.gate = this.#gate.promise;
  }

  check(): void {
    for (; this.#link < this.rig.coordinator.links.length; this.#link++, this.#frame = 0) {
      const received = this.rig.coordinator.links[this.#link]?.received ?? [];
      for (; this.#frame < received.length; this.#frame++) {
        const frame = received[this.#frame];
        if (frame?.t === 'reveal') expect(this.opened.has(frame.assignment)).toBe(true);
        if (frame?.t === 'block') expect(this.#mayServe(frame.cid)).toBe(true);
        const text = Buffer.from(
          JSON.stringify(frame, (_, v: unknown) =>
            v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v,
          ),
        ).toString();
        if (frame?.t !== 'reveal') for (const salt of this.rig.salts) expect(text).not.toContain(salt);
      }
      if (this.#link === this.rig.coordinator.links.length - 1) return;
    }
  }

  #mayServe(cid: string): boolean {
    return [...this.opened].some((of) => outputs[Number(BigInt(of)) - 1] === cid);
  }
}

/** The outputs of the units of seeds 1, 2, 3. */
const outputs: string[] = [];
for (const seed of [1, 2, 3]) {
  const input = new Uint8Array([seed, 1, 2, 3]);
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', input));
  const out = new Uint8Array([...hash, ...hash]);
  out[0] = (out[0] as number) ^ seed;
  outputs.push(cidOfSync(out, rawCode));
}

it('holds under any interleaving', async () => {
  const seen = { reveals: 0, blocks: 0, commits: 0 };
  await fc.assert(
    fc.asyncProperty(actions, async (script) => {
      const witness = new Witness();
      const { rig } = witness;
      witness.finish();
      await rig.control.start();
      await until(() => rig.coordinator.got('hello')[0], 'a hello');
      await witness.act({ do: 'welcome' });
      for (const action of script) await witness.act(action);
      witness.finish();
      await settle();
      witness.check();
      await rig.control.stop();
      await settle();
      expect(rig.clock.pending).toBe(0);
      expect(rig.compute.devices.every(({ closed }) => closed)).toBe(true);
      expect(rig.logged.filter(({ level }) => level === 'error')).toEqual([]);
      expect(unhandled).toEqual([]);
      seen.reveals += rig.coordinator.got('reveal').length;
      seen.blocks += rig.coordinator.got('block').length;
      seen.commits += rig.coordinator.got('commit').length;
    }),
    { numRuns: 100 },
  );
  // The property is worth something only if the interleavings get that far.
  expect(seen.commits).toBeGreaterThan(50);
  expect(seen.reveals).toBeGreaterThan(10);
  expect(seen.blocks).toBeGreaterThan(0);
});
