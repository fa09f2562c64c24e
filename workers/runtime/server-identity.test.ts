/** Which servers are believed: the one that proves by the nonce it was just given that it is the one that was pinned. */
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import type { ServerProof } from '#protocol/messages/frames.ts';
import { signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import type { ServerPins } from './ports.ts';
import { settle, until } from './testing/fake-clock.ts';
import { MemoryReplicas } from './testing/memory-replicas.ts';
import { Rig } from './testing/rig.ts';
import { network } from './testing/scripted-coordinator.ts';

const honest = signerFromKey(`0x${'51'.repeat(32)}`);
const swapped = signerFromKey(`0x${'52'.repeat(32)}`);

class Pins implements ServerPins {
  pinned: Hex | null;
  readonly asked: (Hex | null)[] = [];
  gate: Promise<void> | null = null;

  constructor(pinned: Hex | null) {
    this.pinned = pinned;
  }

  async check(_network: Hex, address: Hex | null): Promise<void> {
    this.asked.push(address);
    await this.gate;
    if (this.pinned === null) this.pinned = address;
    else if (this.pinned !== address) throw new AtollError('wrong_server', 'This is another server.');
  }
}

async function started(pins: ServerPins, replicas = new MemoryReplicas()): Promise<Rig> {
  const rig = new Rig(undefined, { pins, replicas });
  await rig.control.subscribe((view) => void rig.views.push(view));
  await rig.control.start();
  return rig;
}

/** What a server with this key answers the n-th hello with. */
async function proof(rig: Rig, signer = honest, n = 1, on: Hex = network): Promise<ServerProof> {
  const { contributor, nonce } = await rig.coordinator.expect('hello', n);
  const message = { contributor, nonce: nonce as Hex };
  return { address: signer.address, signature: await signer.sign(on, 'Server', message) };
}

async function refused(rig: Rig): Promise<void> {
  expect((await rig.untilPhase('failed')).problem).toMatchObject({ code: 'wrong_server' });
  await rig.clock.advance(120_000);
  expect(rig.coordinator.links).toHaveLength(1);
  for (const t of ['ask', 'commit', 'reveal'] as const) expect(rig.coordinator.got(t)).toEqual([]);
}

describe('a server', () => {
  it('that proves to be the pinned one is worked for, and another nonce is drawn for each link', async () => {
    const rig = await started(new Pins(honest.address));
    await rig.coordinator.welcome(1, { server: await proof(rig) });
    await rig.committed(1);
    await rig.coordinator.drop();
    await settle();
    await rig.clock.advance(15_000);
    await rig.coordinator.welcome(2, { server: await proof(rig, honest, 2) });
    await rig.coordinator.expect('ask', 3);
    const nonces = rig.coordinator.got('hello').map(({ nonce }) => nonce);
    expect(new Set(nonces).size).toBe(2);
  });

  it('that was swapped for another is refused, and what it asks for is not given', async () => {
    const replicas = new MemoryReplicas();
    const first = await started(new Pins(honest.address), replicas);
    await first.coordinator.welcome(1, { server: await proof(first) });
    const { id } = await first.committed(1);
    const rig = await started(new Pins(honest.address), replicas);
    await rig.coordinator.welcome(1, { server: await proof(rig, swapped) });
    rig.coordinator.send({ t: 'open', assignment: id });
    await refused(rig);
    expect(replicas.files.size).toBe(1); // for the right one
  });

  it('that repeats what the right one said to an earlier hello is refused', async () => {
    const first = await started(new Pins(honest.address));
    const replayed = await proof(first);
    const rig = new Rig(undefined, {
      pins: new Pins(honest.address),
      randomBytes: (n) => new Uint8Array(n).fill(9),
    });
    await rig.control.subscribe((view) => void rig.views.push(view));
    await rig.control.start();
    await rig.coordinator.welcome(1, { server: replayed });
    await refused(rig);
  });

  it('that has a proof for another network, or calls itself what it is not, is refused', async () => {
    const rig = await started(new Pins(null));
    await rig.coordinator.welcome(1, { server: await proof(rig, honest, 1, `0x${'33'.repeat(32)}`) });
    await refused(rig);
    const other = await started(new Pins(null));
    const { signature } = await proof(other, swapped);
    await other.coordinator.welcome(1, { server: { address: honest.address, signature } });
    await refused(other);
  });

  it('without an identity (an old one) is taken if none was pinned, and only then', async () => {
    const rig = await started(new Pins(null));
    await rig.coordinator.welcome();
    await rig.committed(1);
    const pinned = await started(new Pins(honest.address));
    await pinned.coordinator.welcome();
    await refused(pinned);
  });

  it('is not heard while its word is looked at; then all that it said counts, in order', async () => {
    const pins = new Pins(null);
    const gate = Promise.withResolvers<void>();
    pins.gate = gate.promise;
    const rig = await started(pins);
    await rig.coordinator.welcome(1, { server: await proof(rig), credit: 5 });
    rig.coordinator.send({ t: 'idle', reason: 'Held back', retryMs: 60_000 });
    await until(() => pins.asked.length === 1, 'the look');
    await settle();
    expect(rig.view.phase).toBe('connecting');
    gate.resolve();
    await rig.untilView(({ reason, credit }) => reason === 'Held back.' && credit === 5, 'what it said');
  });

  it('whose link ends while its word is looked at is called again', async () => {
    const pins = new Pins(null);
    const gate = Promise.withResolvers<void>();
    pins.gate = gate.promise;
    const rig = await started(pins);
    await rig.coordinator.welcome(1, { server: await proof(rig) });
    await until(() => pins.asked.length === 1, 'the look');
    await rig.coordinator.drop();
    await settle();
    gate.resolve();
    await settle();
    expect(rig.coordinator.got('ask')).toEqual([]);
    await rig.clock.advance(15_000);
    await rig.coordinator.welcome(2, { server: await proof(rig, honest, 2) });
    await rig.coordinator.expect('ask');
  });

  it('is asked for no proof where nothing is pinned (a page)', async () => {
    const rig = new Rig();
    await rig.start();
    expect(await rig.coordinator.expect('hello')).not.toHaveProperty('nonce');
  });
});
