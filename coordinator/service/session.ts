/**
 * One WebSocket connection of a contributor: challenge, hello, then frames in order, with a limit on everything.
 *
 * A frame that is malformed, oversized or out of turn gets a problem frame and ends the connection; a request that is refused gets a problem
 * frame and the connection goes on. Reading stops while too many frames wait, so a flood stays in the sender's own socket.
 */
import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { AtollError, codeOf, errorCodes, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import {
  decodeFromContributor,
  encodeFrame,
  type FrameOf,
  type FromContributor,
  type FromCoordinator,
  type ServerProof,
} from '#protocol/messages/frames.ts';
import type { Hex } from 'viem';
import { knownPrograms } from '../planner/programs.ts';
import type { ServerIdentity } from '../identity.ts';
import type { Origin } from '../record/accounts.ts';
import type { Storage } from '../storage/port.ts';
import type { Desk } from './desk.ts';
import type { Directory, Peer } from './directory.ts';
import type { Metrics } from './metrics.ts';
import type { Clock, Logger, Random, Timing } from './ports.ts';
import type { VerifySignature } from './signatures.ts';

export interface SessionPorts {
  storage: Storage;
  directory: Directory;
  desk: Desk;
  clock: Clock;
  random: Random;
  verify: VerifySignature;
  timing: Timing;
  log: Logger;
  metrics: Metrics;
  /** Digest of the conformance probe that a device must have; null accepts any. */
  probe: Hex | null;
  /** Hash of the network that the connection comes from; empty where that says nothing. */
  prefix: string;
  /** What this server proves itself by to who asks for it. */
  identity?: ServerIdentity;
  /** Who answers for a contributor: its linked wallet, or itself. */
  ownerOf: (contributor: Hex) => Promise<Hex>;
  isReferee: (contributor: Hex) => boolean;
}

/** Connections of this process so far: their number tells log lines apart. */
let connections = 0;

/** Frames that end something: whoever gets them has nothing to do. They may wait so long for company. */
const unhurried: ReadonlySet<string> = new Set(['revealed', 'verdict']);
const companyMs = 50;

const queueResume = 8;
const queuePause = 16;
/** Small frames that may arrive in one network read before the pause takes hold; more is a flood. */
const queueMax = 4096;

/** At most 123 bytes, as a close frame holds. */
const goodbye = 'The coordinator is stopping. What it has acknowledged is kept; come back in a moment.';

/** WebSocket close codes (RFC 6455, 7.4.1). */
const closeCodes = { normal: 1000, policy: 1008, tooLarge: 1009, goingAway: 1001 } as const;

export class Session {
  readonly #socket: WebSocket;
  /** What the WebSocket writes to. */
  readonly #wire: Duplex;
  /** Frames are held back until the end of the turn, or until `#late` goes off. */
  #holding = false;
  #leaving = false;
  #late: NodeJS.Timeout | null = null;
  readonly #ports: SessionPorts;
  readonly #nonce: Hex;
  readonly #queue: Uint8Array[] = [];
  readonly #helloTimer: NodeJS.Timeout;
  #peer: Peer | null = null;
  /** Counts up over all connections. */
  readonly connection = ++connections;
  #working: Promise<void> | null = null;
  #draining = false;
  #alive = true;
  #ended = false;

  constructor(socket: WebSocket, wire: Duplex, ports: SessionPorts) {
    this.#socket = socket;
    this.#wire = wire;
    this.#ports = ports;
    this.#nonce = ports.random.bytes32();
    this.#helloTimer = setTimeout(() => {
      this.#fail(new AtollError('bad_frame', 'No hello came in time.'));
    }, ports.timing.helloMs);
    socket.on('message', (data: RawData, isBinary: boolean) => this.#receive(data, isBinary));
    socket.on('pong', () => (this.#alive = true));
    socket.on('close', () => this.#onClose());
    socket.on('error', (error) =>
      ports.log.debug({ ...this.#facts(), code: codeOf(error) }, 'A connection failed.'),
    );
    this.#explainOversize();
    this.#send({ t: 'challenge', v: 1, network: ports.storage.network, nonce: this.#nonce });
  }

  /** Ends the connection if the last ping was not answered, else pings again. */
  ping(): void {
    if (!this.#alive) return this.#socket.terminate();
    this.#alive = false;
    this.#socket.ping();
  }

  close(): void {
    this.#end(closeCodes.goingAway);
  }

  /** Takes nothing more, answers what has arrived, and says goodbye. */
  async drain(): Promise<void> {
    this.#draining = true;
    await this.#working;
    if (!this.#ended) this.#end(closeCodes.goingAway, goodbye);
  }

  /** `ws` closes an oversized frame before we see it; the reason goes out first. */
  #explainOversize(): void {
    const close = this.#socket.close.bind(this.#socket);
    this.#socket.close = (code, reason) => {
      if (code === closeCodes.tooLarge && !this.#ended) {
        this.#sendProblem(new AtollError('too_large', `A frame has at most ${limits.frameBytesMax} bytes.`));
        this.#ended = true;
      }
      close(code, reason);
    };
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (this.#ended || this.#draining) return;
    if (!isBinary) return this.#fail(new AtollError('bad_frame', 'Frames are binary DAG-CBOR, not text.'));
    this.#queue.push(bytesOf(data));
    if (this.#queue.length > queueMax) {
      return this.#fail(new AtollError('rate_limited', 'Too many frames at once. Wait for the answers.'));
    }
    if (this.#queue.length >= queuePause) this.#socket.pause();
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    for (let bytes = this.#queue.shift(); bytes && !this.#ended; bytes = this.#queue.shift()) {
      await this.#handle(bytes);
      if (this.#queue.length <= queueResume && this.#socket.isPaused) this.#socket.resume();
    }
    // In the same turn as the last look at the queue, so that no frame falls between.
    this.#working = null;
  }

  async #handle(bytes: Uint8Array): Promise<void> {
    let frame: FromContributor;
    try {
      frame = decodeFromContributor(bytes);
    } catch (error) {
      return this.#fail(error);
    }
    if (!this.#peer) return this.#greet(frame).catch((error: unknown) => this.#fail(error));
    try {
      await this.#ports.desk.handle(this.#peer, frame);
    } catch (error) {
      if (this.#ended) return;
      if (codeOf(error) === 'bad_frame') return this.#fail(error);
      this.#sendProblem(error, frame);
    }
  }

  async #greet(frame: FromContributor): Promise<void> {
    const { storage, directory, desk, clock, probe, verify, log } = this.#ports;
    if (frame.t !== 'hello') throw new AtollError('bad_frame', 'The first frame must be a hello.');
    const { contributor, signature } = frame;
    const message = { contributor, nonce: this.#nonce };
    await verify('Hello', message, signature, contributor);
    if (probe !== null && frame.probe !== probe) {
      throw new AtollError(
        'nonconforming',
        'The device does not compute the reference bits, so it gets no exact work. Try another browser, driver or backend.',
        { details: { expected: probe } },
      );
    }
    const programs = usablePrograms(frame);
    const origin = await this.#originOf(frame);
    const account = await storage.greet(contributor, clock.now(), origin);
    const proof = await this.#proofFor(frame);
    if (this.#ended) return;
    clearTimeout(this.#helloTimer);
    const peer: Peer = {
      contributor,
      programs,
      origin,
      granted: new Map(),
      committed: new Map(),
      send: (out) => this.#send(out),
    };
    this.#peer = peer;
    const credit = Number(account.credit < maxCredit ? account.credit : maxCredit);
    const referee = this.#ports.isReferee(contributor) ? { referee: true as const } : {};
    const { agreed } = account;
    this.#send({ t: 'welcome', contributor, credit, agreed, now: clock.now(), ...referee, ...proof });
    log.debug({ ...this.#facts(), device: origin.device }, 'A contributor has joined.');
    directory.join(peer);
    await desk.welcomeBack(peer);
  }

  /** Who this server is, to who asks. */
  async #proofFor({
    contributor,
    nonce,
  }: FrameOf<FromContributor, 'hello'>): Promise<{ server?: ServerProof }> {
    const { identity } = this.#ports;
    if (!identity || nonce === undefined) return {};
    return { server: { address: identity.address, signature: await identity.prove(contributor, nonce) } };
  }

  /** A device goes by what it computes with: reliability and speed are those of one. */
  async #originOf({ contributor, device }: FrameOf<FromContributor, 'hello'>): Promise<Origin> {
    const { prefix, ownerOf } = this.#ports;
    const { backend, label, vendor, memoryBytes = null } = device;
    const owner = await ownerOf(contributor);
    return {
      owner,
      prefix,
      device: `${backend}/${vendor}/${label}`,
      vendor: vendor.toLowerCase(),
      memoryBytes,
    };
  }

  #send(frame: FromCoordinator): void {
    if (this.#socket.readyState !== this.#socket.OPEN || this.#ended) return;
    if (this.#socket.bufferedAmount > limits.sendQueueBytesMax) {
      this.#ports.log.warn(this.#facts(), 'A connection that reads too slowly was ended.');
      return this.#socket.terminate();
    }
    this.#gather(unhurried.has(frame.t));
    this.#socket.send(encodeFrame(frame));
  }

  /**
   * What is sent in one turn goes out in one write: an answer often comes with the news that it caused. What nobody waits for goes with the next that
   * somebody does wait for, since a write costs as much as handling a frame.
   */
  #gather(canWait: boolean): void {
    if (!this.#holding) this.#wire.cork();
    this.#holding = true;
    if (canWait) {
      this.#late ??= setTimeout(this.#release, companyMs);
    } else if (!this.#leaving) {
      this.#leaving = true;
      process.nextTick(this.#release);
    }
  }

  readonly #release = (): void => {
    if (this.#late) clearTimeout(this.#late);
    this.#late = null;
    this.#leaving = false;
    if (!this.#holding) return;
    this.#holding = false;
    this.#wire.uncork();
  };

  #sendProblem(error: unknown, frame?: FromContributor): void {
    const problem = toProblem(error);
    const about = frame && 'assignment' in frame ? { assignment: frame.assignment } : {};
    const facts = { ...this.#facts(), frame: frame?.t, ...about };
    this.#ports.metrics.problem(problem.code);
    if (errorCodes[codeOf(error)].status >= 500) {
      this.#ports.log.error({ ...facts, err: error }, 'A frame could not be handled.');
    } else this.#ports.log.debug({ ...facts, code: problem.code }, 'A frame was refused.');
    this.#send({ t: 'problem', problem, ...about });
  }

  /** What every log line of this connection carries; never an address of the network. */
  #facts() {
    return { connection: this.connection, contributor: this.#peer?.contributor };
  }

  /** Says why, then closes. */
  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#sendProblem(error);
    this.#end(codeOf(error) === 'too_large' ? closeCodes.tooLarge : closeCodes.policy);
  }

  #end(code: number, reason = ''): void {
    this.#ended = true;
    this.#release();
    this.#queue.length = 0;
    if (this.#socket.isPaused) this.#socket.resume(); // the close handshake must be read
    this.#socket.close(code, reason);
  }

  #onClose(): void {
    this.#ended = true;
    clearTimeout(this.#helloTimer);
    this.#release();
    if (!this.#peer) return;
    this.#ports.log.debug(this.#facts(), 'A contributor has left.');
    this.#ports.directory.leave(this.#peer);
  }
}

const maxCredit = BigInt(Number.MAX_SAFE_INTEGER);

/** Programs that both sides know. Throws `unknown_program` when there is none. */
function usablePrograms({ programs }: FrameOf<FromContributor, 'hello'>): ReadonlySet<string> {
  const known = programs.filter((program) => knownPrograms.has(program));
  if (known.length > 0) return new Set(known);
  throw new AtollError(
    'unknown_program',
    `None of the programs offered is run here: ${programs.slice(0, 4).join(', ') || 'none'}. Update the contributor.`,
    { details: { known: [...knownPrograms] } },
  );
}

function bytesOf(data: RawData): Uint8Array {
  const buffer = Array.isArray(data) ? Buffer.concat(data) : Buffer.isBuffer(data) ? data : Buffer.from(data);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
