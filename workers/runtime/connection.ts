/**
 * Stays connected: connect, answer the challenge, hand frames on; when the link ends, wait (exponential back-off, full jitter) and do it
 * again until told to stop or refused for good.
 *
 * The server is not trusted to speak well: frames that cannot be read are counted and skipped, a silent server is given up, a second
 * challenge is ignored. Where servers are pinned nothing that one says is heard before it has proven to be the one that was pinned.
 */
import { AtollError, codeOf, type Problem, toProblem } from '#protocol/errors.ts';
import {
  decodeFromCoordinator,
  encodeFrame,
  type FrameOf,
  type FromContributor,
  type FromCoordinator,
} from '#protocol/messages/frames.ts';
import { limits } from '#protocol/limits.ts';
import { toHex, verifySignature } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { Link, RuntimePorts } from './ports.ts';
import { fullJitterMs, sleep, withTimeLimit } from './timing.ts';

/** A connection that has been welcomed. */
export interface Session {
  readonly network: Hex;
  /** Resolves when the transport can take more. Never rejects: a link that fails ends by itself and is opened anew. */
  send(frame: FromContributor): Promise<void>;
}

export interface ConnectionEvents {
  hello(challenge: FrameOf<FromCoordinator, 'challenge'>): Promise<FrameOf<FromContributor, 'hello'>>;
  ready(session: Session, welcome: FrameOf<FromCoordinator, 'welcome'>): void;
  /** Every other frame, in order. */
  frame(frame: FromCoordinator): void;
  /** The link ended or could not be opened; the next try is in `retryMs`. */
  down(cause: Problem, retryMs: number): void;
  /** The coordinator will not have us; no further try is made. */
  refused(problem: Problem): void;
  traffic(bytesDown: number, bytesUp: number): void;
}

export type ConnectionPorts = Pick<RuntimePorts, 'transport' | 'clock' | 'randomBytes' | 'log' | 'pins'>;

type Ended = { kind: 'refused'; problem: Problem } | { kind: 'lost'; cause: Problem; readyMs: number };

/** Resolves when `signal` fires (after a polite close) or the coordinator refuses. Never rejects. */
export async function stayConnected(
  ports: ConnectionPorts,
  events: ConnectionEvents,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; !signal.aborted; attempt++) {
    const ended = await new Conversation(ports, events, signal).run();
    if (signal.aborted) return;
    if (ended.kind === 'refused') return events.refused(ended.problem);
    // A server that welcomes and hangs up at once must not be called back at once for ever.
    if (ended.readyMs >= limits.reconnectMsMax) attempt = 0;
    const retryMs = fullJitterMs(attempt, limits.reconnectMsMin, limits.reconnectMsMax, ports.randomBytes);
    events.down(ended.cause, retryMs);
    await sleep(ports.clock, retryMs, signal).catch(() => {});
  }
}

/** Frames that may come while the server's word is looked at: repeated verdicts and opens. */
const heldMax = 256;

/** Frames that the coordinator owes an answer. */
const answered = new Set<FromContributor['t']>(['hello', 'ask', 'commit', 'reveal']);

/** One link from connect to close. */
class Conversation {
  readonly #ports: ConnectionPorts;
  readonly #events: ConnectionEvents;
  readonly #signal: AbortSignal;
  #link: Link | null = null;
  #network: Hex | null = null;
  #hello: FrameOf<FromContributor, 'hello'> | null = null;
  /** What came while the server's word was looked at. */
  #held: FromCoordinator[] | null = null;
  #isOver = false;
  #readyAt: number | null = null;
  #refusal: Problem | null = null;
  #cause: Problem | null = null;
  #badFrames = 0;
  #cancelWatch: (() => void) | null = null;

  constructor(ports: ConnectionPorts, events: ConnectionEvents, signal: AbortSignal) {
    this.#ports = ports;
    this.#events = events;
    this.#signal = signal;
  }

  async run(): Promise<Ended> {
    const { clock } = this.#ports;
    const onAbort = () => void this.#link?.close();
    this.#signal.addEventListener('abort', onAbort, { once: true });
    try {
      const link = await this.#connect();
      this.#link = link;
      if (this.#signal.aborted) onAbort();
      this.#watch(limits.helloMsMax);
      for await (const bytes of link.frames) this.#receive(bytes);
    } catch (error) {
      this.#cause ??= toProblem(error);
    } finally {
      this.#isOver = true;
      this.#unwatch();
      this.#signal.removeEventListener('abort', onAbort);
      await this.#link?.close();
    }
    if (this.#refusal) return { kind: 'refused', problem: this.#refusal };
    const cause = this.#cause ?? toProblem(new AtollError('unavailable', 'The coordinator closed the link.'));
    return { kind: 'lost', cause, readyMs: this.#readyAt === null ? 0 : clock.now() - this.#readyAt };
  }

  #connect(): Promise<Link> {
    const late = 'The coordinator did not answer in time.';
    return withTimeLimit(this.#ports.clock, limits.connectMsMax, this.#signal, late, async (signal) => {
      const link = await this.#ports.transport.connect(signal);
      if (signal.aborted) void link.close(); // nobody waits for it any more
      return link;
    });
  }

  #receive(bytes: Uint8Array): void {
    this.#events.traffic(bytes.byteLength, 0);
    this.#unwatch();
    let frame: FromCoordinator;
    try {
      frame = decodeFromCoordinator(bytes);
    } catch (error) {
      return this.#receiveBad(error);
    }
    if (!this.#held) return this.#handle(frame);
    this.#held.push(frame);
    if (this.#held.length > heldMax) this.#hangUp(new AtollError('bad_frame', 'Too many frames at once.'));
  }

  #handle(frame: FromCoordinator): void {
    try {
      this.#dispatch(frame);
    } catch (error) {
      this.#ports.log.error({ frame: frame.t, err: error }, 'A frame could not be handled.');
    }
  }

  #receiveBad(error: unknown): void {
    this.#badFrames++;
    this.#ports.log.warn({ code: codeOf(error) }, 'The coordinator sent a frame that cannot be read.');
    if (this.#badFrames < limits.badFramesMax && codeOf(error) !== 'too_large') {
      if (this.#readyAt === null) this.#watch(limits.helloMsMax);
      return;
    }
    this.#hangUp(new AtollError('bad_frame', 'The coordinator sends frames that cannot be read.'));
  }

  #dispatch(frame: FromCoordinator): void {
    if (frame.t === 'challenge') return this.#onChallenge(frame);
    if (frame.t === 'welcome') return this.#onWelcome(frame);
    if (frame.t === 'problem' && this.#isRefusal(frame)) return this.#end(frame.problem);
    if (this.#readyAt === null) this.#watch(limits.helloMsMax);
    this.#events.frame(frame);
  }

  #onChallenge(frame: FrameOf<FromCoordinator, 'challenge'>): void {
    if (this.#network !== null) return this.#ports.log.warn({}, 'A second challenge was ignored.');
    this.#network = frame.network;
    this.#watch(limits.helloMsMax);
    this.#events.hello(frame).then(
      (hello) => this.#greet(hello),
      (error: unknown) => this.#hangUp(error),
    );
  }

  #greet(hello: FrameOf<FromContributor, 'hello'>): void {
    const { pins, randomBytes } = this.#ports;
    this.#hello = pins ? { ...hello, nonce: toHex(randomBytes(32)) } : hello;
    void this.#send(this.#hello);
  }

  #onWelcome(frame: FrameOf<FromCoordinator, 'welcome'>): void {
    if (this.#network === null || this.#readyAt !== null) {
      return this.#ports.log.warn({}, 'A welcome out of turn was ignored.');
    }
    if (!this.#ports.pins) return this.#begin(frame, this.#network);
    this.#held = [];
    const network = this.#network;
    this.#prove(frame, network).then(
      () => this.#begin(frame, network),
      (error: unknown) =>
        codeOf(error) === 'wrong_server' ? this.#end(toProblem(error)) : this.#hangUp(error),
    );
  }

  #begin(frame: FrameOf<FromCoordinator, 'welcome'>, network: Hex): void {
    const held = this.#held ?? [];
    this.#held = null;
    if (this.#isOver) return;
    this.#readyAt = this.#ports.clock.now();
    this.#events.ready({ network, send: (out) => this.#send(out) }, frame);
    for (const each of held) this.#handle(each);
  }

  /** Throws `wrong_server` unless the server is the one that was talked to before, by the nonce that it has just been given. */
  async #prove({ server }: FrameOf<FromCoordinator, 'welcome'>, network: Hex): Promise<void> {
    const { contributor, nonce } = this.#hello ?? {};
    if (!contributor || !nonce) throw new AtollError('bad_frame', 'A welcome came before the hello.');
    if (server) {
      const { address, signature } = server;
      await verifySignature(network, 'Server', { contributor, nonce }, signature, address).catch((cause) => {
        const message = `The server calls itself ${address} and cannot prove it. No work was taken from it.`;
        throw new AtollError('wrong_server', message, { cause });
      });
    }
    await this.#ports.pins?.check(network, server?.address ?? null);
  }

  #end(problem: Problem): void {
    this.#refusal = problem;
    void this.#link?.close();
  }

  /** No unit is meant and trying again cannot help: either the hello was refused or the device was. */
  #isRefusal(frame: FrameOf<FromCoordinator, 'problem'>): boolean {
    if (frame.assignment !== undefined || frame.problem.retryable) return false;
    return this.#readyAt === null || frame.problem.code === 'nonconforming';
  }

  async #send(frame: FromContributor): Promise<void> {
    try {
      const bytes = encodeFrame(frame);
      if (answered.has(frame.t)) this.#watch(limits.answerMsMax);
      this.#events.traffic(0, bytes.byteLength);
      await this.#link?.send(bytes);
    } catch (error) {
      this.#hangUp(error);
    }
  }

  #hangUp(error: unknown): void {
    this.#cause ??= toProblem(error);
    void this.#link?.close();
  }

  /** Unless a frame arrives within `ms`, the link counts as dead. A watch that is already set stays. */
  #watch(ms: number): void {
    const silent = () => this.#hangUp(new AtollError('unavailable', 'The coordinator fell silent.'));
    // A thread that was busy for long finds the timer and the answer waiting together: the answer gets its turn first.
    this.#cancelWatch ??= this.#ports.clock.after(ms, () => {
      this.#cancelWatch = this.#ports.clock.after(limits.idleRetryMsMin, silent);
    });
  }

  #unwatch(): void {
    this.#cancelWatch?.();
    this.#cancelWatch = null;
  }
}
