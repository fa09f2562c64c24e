/** The page's end of the wire: opens the transport when the worker asks for it, and carries links over. */
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import type { OpenOptions } from '../p2p/libp2p/options.ts';
import type { Link } from '../p2p/ports.ts';
import type { MemberTransport } from '../p2p/swarm-member.ts';
import { type ToPage, type ToWorker, transferable, type Wire } from './link-messages.ts';

const addressesEveryMs = 1_000;

export type OpenTransport = (options: OpenOptions) => Promise<MemberTransport>;

/** Serves until `stop` is called here or asked for there. */
export function hostLinks(wire: Wire<ToWorker, ToPage>, open: OpenTransport): { stop: () => Promise<void> } {
  const host = new LinkHost(wire, open);
  return { stop: () => host.stop() };
}

class LinkHost {
  readonly #wire: Wire<ToWorker, ToPage>;
  readonly #open: OpenTransport;
  readonly #links = new Map<number, Link>();
  readonly #numbers = new Map<Link, number>();
  readonly #signing = new Map<number, (signature: `0x${string}` | null) => void>();
  #transport: MemberTransport | null = null;
  #stopped = new AbortController();
  #count = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(wire: Wire<ToWorker, ToPage>, open: OpenTransport) {
    this.#wire = wire;
    this.#open = open;
    wire.listen((message) => this.#hear(message));
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopped.abort(new AtollError('cancelled', 'The contributor stops.'));
    const transport = this.#transport;
    this.#transport = null;
    await transport?.stop();
  }

  #hear(message: ToPage): void {
    if ('link' in message) return this.#onLinkMessage(message);
    if (message.t === 'open') return void this.#start(message);
    if (message.t === 'dial') return void this.#dial(message);
    if (message.t === 'record') return void this.#record(message.id);
    if (message.t === 'stop') return void this.stop();
    this.#signing.get(message.id)?.(message.signature);
    this.#signing.delete(message.id);
  }

  async #start({ url, network, contributor, choice }: Extract<ToPage, { t: 'open' }>): Promise<void> {
    await this.stop();
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    try {
      const signer = this.#signer(contributor);
      const transport = await this.#open({ url, network, choice, signer });
      if (signal.aborted) return await transport.stop();
      transport.onLink((link) => this.#onLink(link));
      await transport.start(signal);
      this.#transport = transport;
      let told = JSON.stringify(transport.addresses);
      this.#wire.post({ t: 'opened', peer: transport.peer, addresses: [...transport.addresses] });
      this.#timer = setInterval(() => {
        const now = JSON.stringify(transport.addresses);
        if (now === told) return;
        told = now;
        this.#wire.post({ t: 'addresses', addresses: [...transport.addresses] });
      }, addressesEveryMs);
    } catch (error) {
      this.#wire.post({ t: 'failed', problem: toProblem(error) });
    }
  }

  /** Signs by asking the worker, which has the key. */
  #signer(contributor: `0x${string}`): Signer {
    return {
      address: contributor,
      sign: (_network, kind, message) => {
        if (kind !== 'Peer') throw new AtollError('internal', 'Only peer records are signed for the page.');
        const id = this.#count++;
        return new Promise((resolve, reject) => {
          this.#signing.set(id, (signature) => {
            if (signature) resolve(signature);
            else reject(new AtollError('unavailable', 'The peer record was not signed.'));
          });
          const words = message as Extract<ToWorker, { t: 'sign' }>['message'];
          this.#wire.post({ t: 'sign', id, message: words });
        });
      },
    };
  }

  async #record(id: number): Promise<void> {
    const record = await this.#transport?.record().catch(() => null);
    this.#wire.post({ t: 'recorded', id, record: record ?? null });
  }

  async #dial({ id, target }: Extract<ToPage, { t: 'dial' }>): Promise<void> {
    try {
      if (!this.#transport) throw new AtollError('unavailable', 'There is no transport.');
      const link = await this.#transport.dial(target, this.#stopped.signal);
      this.#wire.post({ t: 'dialled', id, link: this.#numbers.get(link) ?? this.#onLink(link) });
    } catch (error) {
      this.#wire.post({ t: 'undialled', id, problem: toProblem(error) });
    }
  }

  #onLink(link: Link): number {
    const known = this.#numbers.get(link);
    if (known !== undefined) return known;
    const number = this.#count++;
    this.#links.set(number, link);
    this.#numbers.set(link, number);
    const { peer, contributor, state, direction } = link;
    this.#wire.post({ t: 'link', link: number, peer, contributor, state, direction });
    return number;
  }

  #onLinkMessage(message: Extract<ToPage, { link: number }>): void {
    const { link: number } = message;
    const link = this.#links.get(number);
    if (!link) return;
    if (message.t === 'send') {
      const count = message.bytes.byteLength;
      return this.#wire.post({ t: 'taken', link: number, count, full: !link.send(message.bytes) });
    }
    if (message.t === 'listen') return this.#carry(number, link);
    link[message.t]();
  }

  #carry(number: number, link: Link): void {
    link.listen({
      frame: (bytes) => {
        const own = transferable(bytes);
        this.#wire.post({ t: 'frame', link: number, bytes: own }, [own.buffer]);
      },
      drain: () => this.#wire.post({ t: 'drain', link: number }),
      close: (reason) => {
        this.#links.delete(number);
        this.#numbers.delete(link);
        this.#wire.post({ t: 'closed', link: number, reason });
      },
    });
  }
}
