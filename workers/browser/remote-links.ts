/** The worker's end of the wire: the page's transport, as a transport. */
import type { Hex } from 'viem';
import { AtollError, fromProblem } from '#protocol/errors.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import type { SignedPeerRecord } from '#protocol/p2p/record.ts';
import type { AddressChoice } from '../p2p/libp2p/reach.ts';
import type { Link, LinkEnd, LinkHandlers, LinkState, PeerAddress } from '../p2p/ports.ts';
import type { MemberTransport } from '../p2p/swarm-member.ts';
import { type ToPage, type ToWorker, transferable, type Wire } from './link-messages.ts';

export interface RemoteOptions {
  url: string;
  network: Hex;
  signer: Signer;
  choice: AddressChoice;
}

/** Bytes on their way to the page beyond which a link counts as full. */
const waitingMax = 1 << 20;

export class RemoteTransport implements MemberTransport {
  peer = '';
  addresses: readonly string[] = [];
  readonly #wire: Wire<ToPage, ToWorker>;
  readonly #options: RemoteOptions;
  readonly #links = new Map<number, RemoteLink>();
  readonly #dials = new Map<number, PromiseWithResolvers<Link>>();
  readonly #records = new Map<number, PromiseWithResolvers<SignedPeerRecord>>();
  readonly #opened = Promise.withResolvers<void>();
  #count = 0;
  #onLink: (link: Link) => void = () => {};

  /** The wire is this transport's until it has stopped. */
  constructor(wire: Wire<ToPage, ToWorker>, options: RemoteOptions) {
    this.#wire = wire;
    this.#options = options;
    this.#opened.promise.catch(() => {});
  }

  onLink(listener: (link: Link) => void): void {
    this.#onLink = listener;
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { url, network, signer, choice } = this.#options;
    signal?.addEventListener('abort', () => this.#opened.reject(signal.reason), { once: true });
    this.#wire.post({ t: 'open', url, network, contributor: signer.address, choice });
    await this.#opened.promise;
  }

  dial(target: PeerAddress): Promise<Link> {
    const dial = Promise.withResolvers<Link>();
    const id = this.#count++;
    this.#dials.set(id, dial);
    this.#wire.post({ t: 'dial', id, target: { peer: target.peer, addresses: [...target.addresses] } });
    return dial.promise;
  }

  record(): Promise<SignedPeerRecord> {
    const answer = Promise.withResolvers<SignedPeerRecord>();
    const id = this.#count++;
    this.#records.set(id, answer);
    this.#wire.post({ t: 'record', id });
    return answer.promise;
  }

  async stop(): Promise<void> {
    this.#wire.post({ t: 'stop' });
    const error = new AtollError('cancelled', 'The transport was stopped.');
    this.#opened.reject(error);
    for (const { reject } of [...this.#dials.values(), ...this.#records.values()]) reject(error);
    for (const link of [...this.#links.values()]) link.ended('local');
  }

  hear(message: ToWorker): void {
    switch (message.t) {
      case 'opened':
        this.peer = message.peer;
        this.addresses = message.addresses;
        return this.#opened.resolve();
      case 'failed':
        return this.#opened.reject(fromProblem(message.problem));
      case 'addresses':
        this.addresses = message.addresses;
        return;
      case 'sign':
        return void this.#sign(message);
      case 'link':
        return this.#add(message);
      case 'dialled':
      case 'undialled':
        return this.#settleDial(message);
      case 'recorded':
        return this.#settleRecord(message);
      default:
        return this.#links.get(message.link)?.hear(message);
    }
  }

  async #sign({ id, message }: Extract<ToWorker, { t: 'sign' }>): Promise<void> {
    const { signer, network } = this.#options;
    const isOwn = message.contributor.toLowerCase() === signer.address.toLowerCase();
    const signature = isOwn ? await signer.sign(network, 'Peer', message).catch(() => null) : null;
    this.#wire.post({ t: 'signed', id, signature });
  }

  #add({ link: number, peer, contributor, state, direction }: Extract<ToWorker, { t: 'link' }>): void {
    const link = new RemoteLink(this.#wire, number, { peer, contributor, state, direction }, () =>
      this.#links.delete(number),
    );
    this.#links.set(number, link);
    this.#onLink(link);
  }

  #settleDial(message: Extract<ToWorker, { t: 'dialled' | 'undialled' }>): void {
    const dial = this.#dials.get(message.id);
    this.#dials.delete(message.id);
    const link = message.t === 'dialled' ? this.#links.get(message.link) : undefined;
    if (link) dial?.resolve(link);
    else if (message.t === 'undialled') dial?.reject(fromProblem(message.problem));
    else dial?.reject(new AtollError('unavailable', 'The link has ended already.'));
  }

  #settleRecord({ id, record }: Extract<ToWorker, { t: 'recorded' }>): void {
    const answer = this.#records.get(id);
    this.#records.delete(id);
    if (record) answer?.resolve(record);
    else answer?.reject(new AtollError('unavailable', 'There is no peer record.'));
  }
}

interface LinkFacts {
  peer: string;
  contributor: Hex | null;
  state: LinkState;
  direction: 'outbound' | 'inbound';
}

class RemoteLink implements Link {
  readonly peer: string;
  readonly contributor: Hex | null;
  readonly state: LinkState;
  readonly direction: 'outbound' | 'inbound';
  readonly #wire: Wire<ToPage, ToWorker>;
  readonly #number: number;
  readonly #forget: () => void;
  #handlers: LinkHandlers | null = null;
  #waiting = 0;
  /** The page's side said that it is full. */
  #full = false;
  /** `send` has said false, and nobody was told of room since. */
  #owesDrain = false;
  #isClosed = false;

  constructor(wire: Wire<ToPage, ToWorker>, number: number, facts: LinkFacts, forget: () => void) {
    ({
      peer: this.peer,
      contributor: this.contributor,
      state: this.state,
      direction: this.direction,
    } = facts);
    this.#wire = wire;
    this.#number = number;
    this.#forget = forget;
  }

  listen(handlers: LinkHandlers): void {
    this.#handlers = handlers;
    this.#wire.post({ t: 'listen', link: this.#number });
  }

  send(frame: Uint8Array): boolean {
    if (this.#isClosed) return true;
    const bytes = transferable(frame);
    this.#waiting += bytes.byteLength;
    this.#wire.post({ t: 'send', link: this.#number, bytes }, [bytes.buffer]);
    this.#owesDrain ||= this.#full || this.#waiting > waitingMax;
    return !this.#owesDrain;
  }

  pause(): void {
    this.#wire.post({ t: 'pause', link: this.#number });
  }

  resume(): void {
    this.#wire.post({ t: 'resume', link: this.#number });
  }

  close(): void {
    this.#wire.post({ t: 'close', link: this.#number });
    this.ended('local');
  }

  hear(message: Extract<ToWorker, { t: 'frame' | 'taken' | 'drain' | 'closed' }>): void {
    if (message.t === 'frame') return this.#handlers?.frame(message.bytes);
    if (message.t === 'closed') return this.ended(message.reason);
    if (message.t === 'taken') {
      this.#waiting -= message.count;
      this.#full ||= message.full;
    } else this.#full = false;
    if (!this.#owesDrain || this.#full || this.#waiting > waitingMax / 2) return;
    this.#owesDrain = false;
    this.#handlers?.drain();
  }

  ended(reason: LinkEnd): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#forget();
    this.#handlers?.close(reason);
  }
}
