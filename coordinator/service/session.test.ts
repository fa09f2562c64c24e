/** What is sent together travels together: frames that nobody waits for go with the next that somebody does, or by themselves before long. */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Hex } from 'viem';
import type { WebSocket } from 'ws';
import { decodeFromCoordinator, encodeFrame, type FromCoordinator } from '#protocol/messages/frames.ts';
import { knownPrograms } from '../planner/programs.ts';
import { hex } from '../testing/units.ts';
import type { Peer } from './directory.ts';
import { defaultTiming, silentLogger } from './ports.ts';
import { Session, type SessionPorts } from './session.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

/** Writes as they reach the network, each a list of frames. */
class Wire extends Duplex {
  readonly writes: FromCoordinator['t'][][] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this._writev([{ chunk }], done);
  }

  override _writev(chunks: { chunk: unknown }[], done: () => void): void {
    this.writes.push(chunks.map(({ chunk }) => decodeFromCoordinator(new Uint8Array(chunk as Buffer)).t));
    done();
  }
}

class Socket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  isPaused = false;
  readonly wire = new Wire();

  send(bytes: Uint8Array): void {
    this.wire.write(bytes);
  }

  close(): void {
    this.readyState = 3;
  }
}

const turns = async () => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
};

async function greeted(): Promise<{ peer: Peer; wire: Wire; session: Session }> {
  const socket = new Socket();
  const joined: Peer[] = [];
  const ports = {
    storage: { network: hex(1), greet: async () => ({ credit: 0n, agreed: 0 }) },
    directory: { join: (peer: Peer) => void joined.push(peer), leave: () => undefined },
    desk: { welcomeBack: async () => undefined },
    clock: { now: () => 0 },
    random: { bytes32: () => hex(2) },
    verify: async () => undefined,
    timing: defaultTiming,
    log: silentLogger,
    metrics: { problem: () => undefined },
    probe: null,
    prefix: '',
    ownerOf: async (contributor: Hex) => contributor,
    isReferee: () => false,
  } as unknown as SessionPorts;
  const session = new Session(socket as unknown as WebSocket, socket.wire, ports);
  const hello = encodeFrame({
    ...{ t: 'hello', v: 1, contributor: hex(7, 20), signature: hex(9, 65), probe: hex(3) },
    device: { backend: 'reference', label: '', vendor: '', software: true },
    programs: [...knownPrograms],
  });
  socket.emit('message', Buffer.from(hello), true);
  await turns();
  socket.wire.writes.length = 0;
  return { peer: joined[0] as Peer, wire: socket.wire, session };
}

const revealed = { t: 'revealed', assignment: hex(4) } as const;
const committed = { t: 'committed', assignment: hex(5) } as const;
const idle = { t: 'idle', reason: 'why', retryMs: 1 } as const;

test('what is sent in one turn goes out in one write', async () => {
  const { peer, wire } = await greeted();
  peer.send(committed);
  peer.send(idle);
  await turns();
  expect(wire.writes).toEqual([['committed', 'idle']]);
});

test('what nobody waits for goes with what comes next, in its order', async () => {
  const { peer, wire } = await greeted();
  peer.send(revealed);
  await turns();
  expect(wire.writes).toEqual([]);
  peer.send(idle);
  await turns();
  expect(wire.writes).toEqual([['revealed', 'idle']]);
  vi.advanceTimersByTime(1_000);
  expect(wire.writes).toHaveLength(1);
});

test('or by itself when nothing comes, and before a goodbye', async () => {
  const { peer, wire, session } = await greeted();
  peer.send(revealed);
  vi.advanceTimersByTime(1_000);
  expect(wire.writes).toEqual([['revealed']]);
  peer.send(revealed);
  session.close();
  expect(wire.writes).toEqual([['revealed'], ['revealed']]);
});
