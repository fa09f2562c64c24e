/**
 * One contributor of the load: a real WebSocket, real signatures, results that are computed in no time. Comes back when its connection is lost, with
 * what it holds, and remembers what has been acknowledged: that must not be lost, whatever happens to the coordinator.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import type * as secp256k1 from 'secp256k1';
import { WebSocket } from 'ws';
import { fromHex, toHex } from '#protocol/messages/contribution.ts';
import { decodeFromCoordinator, encodeFrame } from '#protocol/messages/frames.ts';
import { type SignedKind, type SignedMessages, signingBytes } from '#protocol/messages/typed-data.ts';
import { signerFromKey } from '#protocol/signer.ts';
import { keccak256 } from '#coordinator/service/keccak.ts';
import { knownPrograms } from '#coordinator/planner/programs.ts';
import type { Hex } from 'viem';
import { askFrame, assignmentOf, commitFrame, resultFor, revealFrame, typeOf, unitOf } from './wire.ts';

const { ecdsaSign } = createRequire(import.meta.url)('secp256k1/bindings') as typeof secp256k1;

export interface Held {
  commitment: Hex;
  salt: Hex;
  result: Buffer;
  /** Acknowledged. */
  committed: boolean;
  revealed: boolean;
  /** How far it has been compared with the database: 1 for the commit, 2 for the reveal. */
  checked: number;
}

/** What all contributors of a process share. */
export interface LoadContext {
  /** Asks for work as soon as the last commit is acknowledged; otherwise only when told. */
  eager: boolean;
  /** Keeps what was acknowledged, to be compared with the database later. */
  remember: boolean;
  /** Milliseconds from each ask to its lease. */
  leaseMs: number[];
  counts: { leases: number; commits: number; reveals: number; agreed: number; idle: number; lost: number };
  problems: Map<string, number>;
  stopped: boolean;
}

const reconnectMs = 50;
const commitTag = Buffer.from('atoll/commit/1');

export class LoadContributor {
  readonly #context: LoadContext;
  readonly #url: string;
  readonly #key: Buffer;
  readonly address: Hex;
  readonly held = new Map<Hex, Held>();
  #network: Hex = '0x';
  #socket: WebSocket | null = null;
  /** What the WebSocket writes to. */
  #wire: Duplex | null = null;
  #gathering = false;
  #askedAt = 0;
  #welcomed: (() => void) | null = null;

  constructor(context: LoadContext, url: string) {
    this.#context = context;
    this.#url = url;
    this.#key = randomBytes(32);
    this.address = signerFromKey(toHex(this.#key)).address;
  }

  /** Resolves once it has been greeted. */
  connect(): Promise<void> {
    const welcomed = new Promise<void>((resolve) => (this.#welcomed = resolve));
    this.#open();
    return welcomed;
  }

  ask(): void {
    this.#askedAt = performance.now();
    this.#send(askFrame);
  }

  close(): void {
    this.#socket?.terminate();
  }

  #send(frame: Uint8Array): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#gather();
    this.#socket.send(frame);
  }

  /** Answers to what came together go out together, in one write. */
  #gather(): void {
    const wire = this.#wire;
    if (!wire || this.#gathering) return;
    this.#gathering = true;
    wire.cork();
    process.nextTick(() => {
      this.#gathering = false;
      wire.uncork();
    });
  }

  #open(): void {
    if (this.#context.stopped) return;
    const socket = new WebSocket(this.#url, { perMessageDeflate: false, skipUTF8Validation: true });
    this.#socket = socket;
    this.#wire = null;
    socket.on('upgrade', ({ socket: wire }) => (this.#wire = wire));
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#context.counts.lost++;
      if (!this.#context.stopped) setTimeout(() => this.#open(), reconnectMs);
    });
  }

  #receive(frame: Buffer): void {
    const { counts } = this.#context;
    switch (typeOf(frame)) {
      case 'challenge':
        return this.#hello(frame);
      case 'welcome':
        return this.#resume();
      case 'lease':
        this.#context.leaseMs.push(performance.now() - this.#askedAt);
        counts.leases++;
        return this.#commit(assignmentOf(frame), unitOf(frame));
      case 'idle':
        counts.idle++;
        return this.#later(frame);
      case 'committed':
        counts.commits++;
        this.#note(assignmentOf(frame), 'committed');
        if (this.#context.eager) this.ask();
        return;
      case 'open':
        return this.#reveal(assignmentOf(frame));
      case 'revealed':
        counts.reveals++;
        return this.#note(assignmentOf(frame), 'revealed');
      case 'verdict':
        counts.agreed++;
        return this.#forget(assignmentOf(frame));
      case 'problem':
        return this.#problem(frame);
    }
  }

  #sign<K extends SignedKind>(kind: K, message: SignedMessages[K]): Hex {
    const { signature, recid } = ecdsaSign(signingBytes(this.#network, kind, message, keccak256), this.#key);
    return `0x${Buffer.from(signature).toString('hex')}${recid === 0 ? '1b' : '1c'}`;
  }

  #hello(bytes: Buffer): void {
    const frame = decodeFromCoordinator(new Uint8Array(bytes));
    if (frame.t !== 'challenge') return;
    this.#network = frame.network;
    const contributor = this.address;
    this.#send(
      encodeFrame({
        t: 'hello',
        v: 1,
        contributor,
        signature: this.#sign('Hello', { contributor, nonce: frame.nonce }),
        device: { backend: 'reference', label: 'load', vendor: 'none', software: true },
        probe: `0x${'11'.repeat(32)}`,
        programs: [...knownPrograms],
      }),
    );
  }

  /** What was not acknowledged goes out again; what the coordinator waits for it says itself. */
  #resume(): void {
    for (const [assignment, held] of this.held) if (!held.committed) this.#sendCommit(assignment, held);
    this.#welcomed?.();
    this.#welcomed = null;
    if (this.#context.eager) this.ask();
  }

  #commit(assignment: Hex, unit: Buffer): void {
    const known = this.held.get(assignment);
    if (known) return this.#sendCommit(assignment, known);
    const salt = randomBytes(32);
    const result = resultFor(unit);
    const digest = createHash('sha256').update(result).digest();
    const commitment = createHash('sha256')
      .update(commitTag)
      .update(fromHex(assignment))
      .update(fromHex(this.address))
      .update(salt)
      .update(digest)
      .digest('hex');
    const held: Held = {
      commitment: `0x${commitment}`,
      salt: `0x${salt.toString('hex')}`,
      result,
      committed: false,
      revealed: false,
      checked: 0,
    };
    this.held.set(assignment, held);
    this.#sendCommit(assignment, held);
  }

  #sendCommit(assignment: Hex, { commitment }: Held): void {
    const signature = this.#sign('Commit', { assignment, commitment });
    this.#send(commitFrame(assignment, commitment, signature));
  }

  #reveal(assignment: Hex): void {
    const held = this.held.get(assignment);
    if (held) this.#send(revealFrame(assignment, held.salt, held.result));
  }

  #note(assignment: Hex, what: 'committed' | 'revealed'): void {
    const held = this.held.get(assignment);
    if (held) held[what] = true;
  }

  #forget(assignment: Hex): void {
    if (!this.#context.remember) this.held.delete(assignment);
  }

  #later(frame: Buffer): void {
    const idle = decodeFromCoordinator(new Uint8Array(frame));
    if (idle.t !== 'idle') return;
    const { problems, eager } = this.#context;
    problems.set(idle.reason, (problems.get(idle.reason) ?? 0) + 1);
    if (eager) setTimeout(() => this.ask(), idle.retryMs);
  }

  #problem(bytes: Buffer): void {
    const frame = decodeFromCoordinator(new Uint8Array(bytes));
    if (frame.t !== 'problem') return;
    const { problems, eager } = this.#context;
    problems.set(frame.problem.code, (problems.get(frame.problem.code) ?? 0) + 1);
    const held = frame.assignment && this.held.get(frame.assignment);
    if (frame.assignment && held && !held.committed && !frame.problem.retryable)
      this.held.delete(frame.assignment);
    if (eager) setTimeout(() => this.ask(), reconnectMs);
  }
}
