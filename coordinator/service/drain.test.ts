/** A planned stop: what has arrived is answered, nobody is given new work, and everybody is told why the connection ends. */
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { decodeFromCoordinator, encodeFrame, type FromCoordinator } from '#protocol/messages/frames.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import type { Coordinator } from '../main.ts';
import { knownPrograms } from '../planner/programs.ts';
import { testJob, testText } from '../testing/fake-programs.ts';
import { testCoordinator } from '../testing/harness.ts';
import { systemRandom } from './ports.ts';

interface Ended {
  frames: FromCoordinator[];
  code: number;
  reason: string;
}

/** Says hello and asks twice at once; resolves with all that came until the connection ended. */
function askTwice({ url }: Coordinator): Promise<Ended> {
  const signer = signerFromKey(createKey());
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/contribute`);
  const frames: FromCoordinator[] = [];
  const greet = async (network: Hex, nonce: Hex) => {
    const contributor = signer.address;
    const signature = await signer.sign(network, 'Hello', { contributor, nonce });
    const device = { backend: 'reference', label: 'test', vendor: 'none', software: true } as const;
    const probe: Hex = `0x${'11'.repeat(32)}`;
    const programs = [...knownPrograms];
    socket.send(encodeFrame({ t: 'hello', v: 1, contributor, signature, device, probe, programs }));
  };
  return new Promise((resolve) => {
    socket.on('message', (data: Buffer) => {
      const frame = decodeFromCoordinator(new Uint8Array(data));
      frames.push(frame);
      if (frame.t === 'challenge') void greet(frame.network, frame.nonce);
      if (frame.t === 'welcome') for (let i = 0; i < 2; i++) socket.send(encodeFrame({ t: 'ask' }));
    });
    socket.on('close', (code, reason) => resolve({ frames, code, reason: reason.toString() }));
  });
}

test('an ask under way is answered, the next one gets nothing, and the goodbye says why', async () => {
  let stopped: Promise<void> | null = null;
  // A connection needs 32 random bytes for its challenge, and an ask for its lease: the stop comes while the first ask is under way.
  let wanted = Infinity;
  const random = {
    ...systemRandom,
    bytes32: () => {
      if (--wanted === 0) queueMicrotask(() => (stopped ??= coordinator.close()));
      return systemRandom.bytes32();
    },
  };
  // A sweep draws one too, so there is none meanwhile.
  const coordinator: Coordinator = await testCoordinator({ random, timing: { sweepMs: 600_000 } });
  await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  wanted = 2;
  const { frames, code, reason } = await askTwice(coordinator);
  expect(frames.map((frame) => frame.t)).toEqual(['challenge', 'welcome', 'lease', 'idle']);
  expect(frames.at(-1)).toMatchObject({ reason: 'the coordinator is stopping' });
  expect(code).toBe(1001);
  expect(reason).toMatch(/stopping/);
  await stopped;
});
