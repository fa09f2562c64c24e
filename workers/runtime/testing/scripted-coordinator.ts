/**
 * A coordinator that does only what a test tells it, over a transport in memory. It records every frame it gets, checks every signature, and
 * lets the test send anything, well-formed or not.
 */
import { AtollError, toProblem, type ErrorCode } from '#protocol/errors.ts';
import { commitmentOf, verifySignature } from '#protocol/messages/contribution.ts';
import { cidOfSync, cborCode, digestOfCid } from '#protocol/codec/cid.ts';
import {
  decodeFromContributor,
  encodeFrame,
  type FrameOf,
  type FromContributor,
  type FromCoordinator,
} from '#protocol/messages/frames.ts';
import { encodeWorkunit, type Workunit } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import { FrameQueue } from '../../transport/frame-queue.ts';
import type { Link, Transport } from '../ports.ts';
import { until } from './fake-clock.ts';

export const network: Hex = `0x${'11'.repeat(32)}`;

export const assignment = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`;

class MemoryLink implements Link {
  readonly frames = new FrameQueue();
  readonly received: FromContributor[] = [];
  isOpen = true;

  async send(bytes: Uint8Array): Promise<void> {
    if (!this.isOpen) throw new AtollError('unavailable', 'The link is closed.');
    this.received.push(decodeFromContributor(bytes));
  }

  async close(): Promise<void> {
    this.isOpen = false;
    this.frames.end();
  }
}

export class ScriptedCoordinator {
  /** Every link there was, oldest first. */
  readonly links: MemoryLink[] = [];
  /** Connections are refused while this is false. */
  isUp = true;
  network: Hex = network;
  challenges = true;
  #nonces = 0;

  readonly transport: Transport = {
    connect: async () => {
      if (!this.isUp) throw new AtollError('unavailable', 'The coordinator cannot be reached.');
      const link = new MemoryLink();
      this.links.push(link);
      if (this.challenges) this.sendOn(link, this.challenge());
      return link;
    },
  };

  challenge(): FromCoordinator {
    return { t: 'challenge', v: 1, network: this.network, nonce: assignment(900_000 + this.#nonces++) };
  }

  get link(): MemoryLink | undefined {
    return this.links.at(-1);
  }

  /** Frames of one kind, over all links. */
  got<T extends FromContributor['t']>(t: T): FrameOf<FromContributor, T>[] {
    return this.links
      .flatMap(({ received }) => received)
      .filter((frame): frame is FrameOf<FromContributor, T> => frame.t === t);
  }

  /** The n-th frame of a kind (from 1), as soon as it is there. */
  async expect<T extends FromContributor['t']>(t: T, n = 1): Promise<FrameOf<FromContributor, T>> {
    return until(() => this.got(t)[n - 1], `${t} frame ${n}`);
  }

  send(frame: FromCoordinator): void {
    if (this.link) this.sendOn(this.link, frame);
  }

  sendBytes(bytes: Uint8Array): void {
    this.link?.frames.push(bytes);
  }

  sendOn(link: MemoryLink, frame: FromCoordinator): void {
    link.frames.push(encodeFrame(frame));
  }

  sendProblem(code: ErrorCode, of?: Hex): void {
    const problem = toProblem(new AtollError(code, `The test says ${code}.`));
    this.send({ t: 'problem', problem, ...(of ? { assignment: of } : {}) });
  }

  /** The link dies without a word. */
  async drop(): Promise<void> {
    await this.link?.close();
  }

  /** Waits for the n-th hello, checks it and welcomes. */
  async welcome(
    n = 1,
    more: Partial<FrameOf<FromCoordinator, 'welcome'>> = {},
  ): Promise<FrameOf<FromContributor, 'hello'>> {
    const hello = await this.expect('hello', n);
    this.send({ t: 'welcome', contributor: hello.contributor, agreed: 0, credit: 0, ...more });
    return hello;
  }

  /** Waits for the n-th ask and answers it with a lease. */
  async lease(n: number, unit: Workunit, asks = n, leaseMs = 600_000): Promise<Hex> {
    await this.expect('ask', asks);
    const id = assignment(n);
    this.send({ t: 'lease', assignment: id, unit: encodeWorkunit(unit), leaseMs });
    return id;
  }

  /** Waits for the n-th commit, checks its signature and, unless told otherwise, acknowledges it. */
  async commit(n: number, acknowledge = true): Promise<FrameOf<FromContributor, 'commit'>> {
    const commit = await this.expect('commit', n);
    const { contributor } = await this.expect('hello');
    const { assignment: id, commitment, signature } = commit;
    await verifySignature(this.network, 'Commit', { assignment: id, commitment }, signature, contributor);
    if (acknowledge) this.send({ t: 'committed', assignment: id });
    return commit;
  }

  /** Waits for the n-th reveal and checks that it opens the commitment. */
  async reveal(n: number): Promise<FrameOf<FromContributor, 'reveal'>> {
    const reveal = await this.expect('reveal', n);
    const { contributor } = await this.expect('hello');
    const { assignment: id, salt, result, signature } = reveal;
    const digestBytes = digestOfCid(cidOfSync(result, cborCode));
    const digest = `0x${Buffer.from(digestBytes).toString('hex')}` as Hex;
    await verifySignature(this.network, 'Reveal', { assignment: id, salt, digest }, signature, contributor);
    const commit = this.got('commit').find((frame) => frame.assignment === id);
    if (commit?.commitment !== commitmentOf(id, contributor, salt, digestBytes)) {
      throw new Error('The reveal does not open the commitment.');
    }
    return reveal;
  }

  verdict(id: Hex, unit: string, outcome: 'agreed' | 'rejected' | 'void' = 'agreed', credit = 100): void {
    this.send({ t: 'verdict', assignment: id, unit, outcome, credit, reason: 'The test decided.' });
  }
}
