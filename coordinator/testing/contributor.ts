/**
 * A small contributor over a real WebSocket, for the coordinator's tests: honest by default, and as dishonest as a test's behaviour makes it.
 * Signs with a key of its own, computes fake programs, fetches inputs from `/ipfs`, serves its outputs.
 */
import { WebSocket } from 'ws';
import { type Cid, cborCode, cidOfSync, digestOfCid } from '#protocol/codec/cid.ts';
import { commitmentOf, type Signer, toHex } from '#protocol/messages/contribution.ts';
import {
  decodeFromCoordinator,
  encodeFrame,
  type FrameOf,
  type FromContributor,
  type FromCoordinator,
} from '#protocol/messages/frames.ts';
import { decodeWorkunit, encodeResult } from '#protocol/messages/workunit.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { knownPrograms } from '../planner/programs.ts';
import { fakeExecute, MemoryBlocks } from './fake-programs.ts';

export interface Held {
  assignment: Hex;
  unit: Cid;
  salt: Hex;
  result: Uint8Array;
  commitment: Hex;
}

/** Each returns false to take the frame over from the honest behaviour. */
export interface Behaviour {
  lie?: string;
  programs?: string[];
  onLease?: (contributor: TestContributor, frame: FrameOf<FromCoordinator, 'lease'>) => Promise<boolean>;
  onOpen?: (contributor: TestContributor, held: Held) => Promise<boolean>;
  onPull?: (contributor: TestContributor, cids: Cid[]) => Promise<boolean>;
  onRevealed?: (contributor: TestContributor, held: Held) => Promise<boolean>;
}

const probe: Hex = `0x${'11'.repeat(32)}`;
const idleMs = 20;

export class TestContributor {
  readonly signer: Signer;
  readonly blocks: MemoryBlocks;
  readonly held = new Map<Hex, Held>();
  readonly received: FromCoordinator[] = [];
  /** What the coordinator has acknowledged, over all connections. */
  readonly acknowledged = {
    commits: new Map<Hex, Held>(),
    reveals: new Map<Hex, Held>(),
    agreed: new Map<Hex, Cid>(),
  };
  readonly behaviour: Behaviour;
  url: string;
  network: Hex | null = null;
  socket: WebSocket | null = null;
  #stopped = false;
  #asking: NodeJS.Timeout | null = null;
  #queue: Promise<void> = Promise.resolve();
  readonly #waiters = new Set<() => void>();

  constructor(url: string, behaviour: Behaviour = {}, key: Hex = createKey()) {
    this.url = url;
    this.behaviour = behaviour;
    this.signer = signerFromKey(key);
    this.blocks = new MemoryBlocks(async (cid) => {
      const response = await fetch(`${this.url}/ipfs/${cid}`);
      if (!response.ok) throw new Error(`GET /ipfs/${cid}: ${response.status}`);
      return new Uint8Array(await response.arrayBuffer());
    });
  }

  get address(): Hex {
    return this.signer.address;
  }

  /** Connects, and connects again whenever the connection is lost, until `stop`. */
  start(): this {
    this.#stopped = false;
    this.#connect();
    return this;
  }

  stop(): void {
    this.#stopped = true;
    if (this.#asking) clearTimeout(this.#asking);
    this.socket?.terminate();
  }

  /** Resolves with the first frame, received or still to come, that `test` accepts. */
  async frame<T extends FromCoordinator['t']>(
    type: T,
    test: (frame: FrameOf<FromCoordinator, T>) => boolean = () => true,
  ): Promise<FrameOf<FromCoordinator, T>> {
    for (;;) {
      const found = this.received.find(
        (frame): frame is FrameOf<FromCoordinator, T> =>
          frame.t === type && test(frame as FrameOf<FromCoordinator, T>),
      );
      if (found) return found;
      await new Promise<void>((resolve) => this.#waiters.add(resolve));
    }
  }

  send(frame: FromContributor): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(encodeFrame(frame));
  }

  /** Computes a lease's unit and commits to it. */
  async compute(lease: FrameOf<FromCoordinator, 'lease'>): Promise<Held> {
    const result = await fakeExecute(decodeWorkunit(lease.unit), this.blocks, this.behaviour.lie);
    return this.commitTo(lease, encodeResult(result));
  }

  async commitTo(lease: FrameOf<FromCoordinator, 'lease'>, result: Uint8Array): Promise<Held> {
    const { assignment } = lease;
    const salt = toHex(crypto.getRandomValues(new Uint8Array(32)));
    const digest = digestOfCid(cidOfSync(result, cborCode));
    const commitment = commitmentOf(assignment, this.address, salt, digest);
    const held: Held = { assignment, unit: cidOfSync(lease.unit, cborCode), salt, result, commitment };
    this.held.set(assignment, held);
    await this.sendCommit(assignment, commitment);
    return held;
  }

  async sendCommit(assignment: Hex, commitment: Hex): Promise<void> {
    const signature = await this.signer.sign(this.network as Hex, 'Commit', { assignment, commitment });
    this.send({ t: 'commit', assignment, commitment, signature });
  }

  async sendReveal({
    assignment,
    salt,
    result,
  }: Pick<Held, 'assignment' | 'salt' | 'result'>): Promise<void> {
    const digest = toHex(digestOfCid(cidOfSync(result, cborCode)));
    const signature = await this.signer.sign(this.network as Hex, 'Reveal', { assignment, salt, digest });
    this.send({ t: 'reveal', assignment, salt, result, signature });
  }

  ask(): void {
    this.send({ t: 'ask' });
  }

  #connect(): void {
    if (this.#stopped) return;
    const socket = new WebSocket(`${this.url.replace('http', 'ws')}/v1/contribute`);
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!this.#stopped) setTimeout(() => this.#connect(), 30);
    });
    socket.on('message', (data: ArrayBuffer) => {
      const frame = decodeFromCoordinator(new Uint8Array(data));
      this.#queue = this.#queue.then(() => this.#handle(frame)).catch(() => undefined);
    });
  }

  async #handle(frame: FromCoordinator): Promise<void> {
    this.received.push(frame);
    this.#notify(); // a behaviour may take its time over this frame
    const { onLease, onOpen, onPull, onRevealed } = this.behaviour;
    if (frame.t === 'challenge') await this.#hello(frame);
    else if (frame.t === 'welcome') await this.#resume();
    else if (frame.t === 'idle' || (frame.t === 'problem' && frame.problem.retryable))
      this.#asking = setTimeout(() => this.ask(), idleMs);
    else if (frame.t === 'lease') await this.#lease(frame, onLease);
    else if (frame.t === 'committed') this.#note(this.acknowledged.commits, frame.assignment);
    else if (frame.t === 'open') {
      const held = this.held.get(frame.assignment);
      if (held && (!onOpen || (await onOpen(this, held)))) await this.sendReveal(held);
    } else if (frame.t === 'revealed') {
      this.#note(this.acknowledged.reveals, frame.assignment);
      const held = this.held.get(frame.assignment);
      if (held && onRevealed) await onRevealed(this, held);
    } else if (frame.t === 'pull') {
      if (!onPull || (await onPull(this, frame.cids))) this.serve(frame.cids);
    } else if (frame.t === 'verdict' && frame.outcome === 'agreed') {
      this.acknowledged.agreed.set(frame.assignment, frame.unit);
    }
    this.#notify();
  }

  #notify(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }

  serve(cids: readonly Cid[]): void {
    for (const cid of cids) {
      const bytes = this.blocks.map.get(cid);
      this.send(bytes ? { t: 'block', cid, bytes } : { t: 'missing', cid });
    }
  }

  async #hello({ network, nonce }: FrameOf<FromCoordinator, 'challenge'>): Promise<void> {
    this.network = network;
    const contributor = this.address;
    const signature = await this.signer.sign(network, 'Hello', { contributor, nonce });
    const device = { backend: 'reference', label: 'test', vendor: 'none', software: true } as const;
    const programs = this.behaviour.programs ?? [...knownPrograms];
    this.send({ t: 'hello', v: 1, contributor, signature, device, probe, programs });
  }

  /** What was not acknowledged goes out again. */
  async #resume(): Promise<void> {
    for (const { assignment, commitment } of this.held.values()) {
      if (!this.acknowledged.commits.has(assignment)) await this.sendCommit(assignment, commitment);
    }
    this.ask();
  }

  async #lease(lease: FrameOf<FromCoordinator, 'lease'>, onLease: Behaviour['onLease']): Promise<void> {
    if (onLease && !(await onLease(this, lease))) return;
    if (!this.held.has(lease.assignment)) {
      try {
        await this.compute(lease);
      } catch {
        this.send({ t: 'release', assignment: lease.assignment, reason: 'an input could not be fetched' });
      }
    }
    this.ask();
  }

  #note(map: Map<Hex, Held>, assignment: Hex): void {
    const held = this.held.get(assignment);
    if (held) map.set(assignment, held);
  }
}
