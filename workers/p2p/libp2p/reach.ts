/**
 * What the coordinator says of reaching others (`/v1/ice`), asked again when credentials are about to end or the relay is lost, and what follows for
 * WebRTC under the person's choice: `relay-only` tells no peer this machine's address, and so needs a TURN server; `direct` does.
 */
import { AtollError } from '#protocol/errors.ts';
import type { IceInfo } from '#protocol/http/p2p.ts';

export type AddressChoice = 'relay-only' | 'direct';

export interface ReachPorts {
  /** The coordinator's address, such as `https://atoll.example`. */
  url: string;
  choice: AddressChoice;
  fetchIce: (signal: AbortSignal) => Promise<IceInfo>;
  /** Milliseconds since 1970. */
  date: () => number;
}

/** Credentials that end within this time are renewed first. */
const renewMs = 60_000;

/** The multiaddr of a relay behind an HTTP address. */
export function relayAddress(url: string, peer: string): string {
  const { protocol, hostname, port } = new URL(url);
  const isSecure = protocol === 'https:';
  const bare = hostname.replace(/^\[|\]$/g, '');
  const kind = bare.includes(':') ? 'ip6' : /^\d+(\.\d+){3}$/.test(bare) ? 'ip4' : 'dns';
  const number = port === '' ? (isSecure ? 443 : 80) : Number(port);
  return `/${kind}/${bare}/tcp/${number}/${isSecure ? 'tls/ws' : 'ws'}/p2p/${peer}`;
}

export class Reach {
  readonly #ports: ReachPorts;
  #info: Promise<IceInfo> | null = null;

  constructor(ports: ReachPorts) {
    this.#ports = ports;
  }

  /** Throws `unavailable` where contributors do not talk to each other, or could only by telling their addresses. */
  async current(signal: AbortSignal): Promise<IceInfo> {
    const info = await (this.#info ?? this.#ask(signal));
    const isEnding = info.expires !== null && info.expires - this.#ports.date() < renewMs;
    const current = isEnding ? await this.#ask(signal) : info;
    if (current.relay === null) throw new AtollError('unavailable', 'This network has no relay.');
    if (this.#ports.choice === 'relay-only' && !current.canRelay) {
      const message =
        'This network has no TURN server: others would see this address. Choose direct connections to allow that.';
      throw new AtollError('unavailable', message);
    }
    return current;
  }

  /** The relay's address, asked anew. */
  async relay(signal: AbortSignal): Promise<string> {
    await this.#ask(signal);
    const { relay } = await this.current(signal);
    return relayAddress(this.#ports.url, relay as string);
  }

  async rtcConfiguration(): Promise<RTCConfiguration> {
    const { iceServers } = await this.current(AbortSignal.timeout(renewMs));
    const servers = iceServers.map(({ urls, username, credential }) => ({
      urls,
      ...(username === undefined || credential === undefined ? {} : { username, credential }),
    }));
    return {
      iceServers: servers,
      iceTransportPolicy: this.#ports.choice === 'relay-only' ? 'relay' : 'all',
    };
  }

  #ask(signal: AbortSignal): Promise<IceInfo> {
    const asked = this.#ports.fetchIce(signal);
    asked.catch(() => {
      if (this.#info === asked) this.#info = null;
    });
    this.#info = asked;
    return asked;
  }
}
