/**
 * Checks of the way to the coordinator, step by step, so that the first that fails names the fault: proxy, name, connection, certificate, whether what answers is a
 * coordinator, its clock, the WebSocket that work comes over, and the relay that other contributors are reached by.
 */
import { lookup } from 'node:dns/promises';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import * as v from 'valibot';
import { networkSchema, routes } from '#protocol/http/api.ts';
import { decodeFromCoordinator } from '#protocol/messages/frames.ts';
import { httpIce } from '../../transport/http-ice.ts';
import { systemClock } from '../../transport/platform.ts';
import { webSocketTransport } from '../../transport/web-socket.ts';
import type { Config } from '../config.ts';
import { type CheckSpec, fail, type Finding, type Found, ok, skipped, warn } from './check.ts';
import { type ProxyUse, proxyFor } from './proxy.ts';
import { reachTurn } from './turn.ts';

export interface NetworkPorts {
  env: NodeJS.ProcessEnv;
  /** Milliseconds since 1970. */
  now(): number;
}

const stepMs = 10_000;
const bodyBytesMax = 64 << 10;
/** Seconds that a clock may be off: a header tells whole seconds, and a slow answer is not an early one. */
const clockSecondsOk = 5;
const clockSecondsMax = 120;

/** `url` is null where none was given. */
export function networkChecks(config: Config, url: string | null, ports: NetworkPorts): CheckSpec[] {
  const way = new Way(url, ports);
  const step = (id: string, title: string, run: CheckSpec['run']): CheckSpec => ({
    ...{ id, title, run },
    msMax: stepMs,
  });
  return [
    step('dns', 'Name of the coordinator', () => way.dns()),
    step('connection', 'Connection', (signal, found) => way.after(found, ['dns'], () => way.tcp(signal))),
    step('tls', 'Certificate', (signal, found) => way.after(found, ['connection'], () => way.tls(signal))),
    step('coordinator', 'Coordinator', (signal, found) =>
      way.after(found, ['connection', 'tls'], () => way.coordinator(signal)),
    ),
    step('clock', 'Clock', async (_, found) =>
      way.after(found, ['connection', 'tls'], async () => way.clock()),
    ),
    step('websocket', 'WebSocket', (signal, found) =>
      way.after(found, ['coordinator'], () => way.webSocket(signal)),
    ),
    step('relay', 'Relay to other contributors', (signal, found) =>
      way.after(found, ['coordinator'], () => relayCheck(config, signal)),
    ),
  ];
}

class Way {
  readonly #url: URL | null;
  readonly #text: string;
  readonly #ports: NetworkPorts;
  readonly #proxy: ProxyUse;
  /** Milliseconds by which this clock is ahead of the coordinator's. */
  #ahead: number | null = null;

  constructor(url: string | null, ports: NetworkPorts) {
    this.#text = url ?? '';
    this.#url = url === null ? null : new URL(url);
    this.#ports = ports;
    this.#proxy = this.#url ? proxyFor(this.#url, ports.env) : { kind: 'none' };
  }

  async after(found: Found, needed: readonly string[], run: () => Promise<Finding>): Promise<Finding> {
    if (!this.#url) return skipped('No coordinator was named.');
    const isMissing = (id: string) => {
      const state = found.get(id);
      return state === 'fail' || (state === 'skipped' && id !== 'tls'); // http:// has no certificate
    };
    if (needed.some(isMissing)) return skipped('Cannot be told before what is above is mended.');
    return run();
  }

  /** Whom the first connection goes to. */
  #target(): { host: string; port: number; words: string } {
    const url = this.#proxy.kind === 'used' ? this.#proxy.url : (this.#url as URL);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    return {
      host,
      port,
      words: this.#proxy.kind === 'used' ? `the proxy ${host}:${port}` : `${host}:${port}`,
    };
  }

  async dns(): Promise<Finding> {
    if (!this.#url) {
      return fail(
        'No coordinator was named.',
        'Give its address: --url URL, ATOLL_URL, or "url" in the config file.',
      );
    }
    const { host } = this.#target();
    try {
      const found = await lookup(host, { all: true });
      const isAddress = found[0]?.address === host;
      return ok(
        isAddress
          ? `${host} is an address.`
          : `${host} is known by ${found.length} ${found.length === 1 ? 'address' : 'addresses'}.`,
      );
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'EAI_AGAIN') {
        return fail(
          `The name server did not answer when it was asked for ${host}.`,
          `Check this machine's network and /etc/resolv.conf.${this.#proxyHint()}`,
        );
      }
      return fail(
        `Nobody knows the name ${host} (${code}).`,
        `Check the spelling of --url.${this.#proxyHint()}`,
      );
    }
  }

  async tcp(signal: AbortSignal): Promise<Finding> {
    const { host, port, words } = this.#target();
    try {
      await dial(host, port, signal);
      return ok(`Connected to ${words}.`);
    } catch (error) {
      const { code = 'no answer' } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED') {
        return fail(
          `Nobody listens on ${words}.`,
          `Check the port of --url, and that the coordinator runs.${this.#proxyHint()}`,
        );
      }
      if (code === 'ENETUNREACH' || code === 'EHOSTUNREACH') {
        return fail(
          `There is no way to ${words} from here (${code}).`,
          `Check this machine's network.${this.#proxyHint()}`,
        );
      }
      return fail(
        `${words} did not answer (${code}).`,
        `A firewall may drop what goes there: let TCP port ${port} out.${this.#proxyHint()}`,
      );
    }
  }

  async tls(signal: AbortSignal): Promise<Finding> {
    const url = this.#url as URL;
    if (url.protocol !== 'https:') return skipped('The address begins with http://: nothing is encrypted.');
    if (this.#proxy.kind === 'used') return skipped('The proxy passes it on.');
    const { host, port } = this.#target();
    try {
      await shakeHands(host, port, signal);
      return ok('The certificate is valid.');
    } catch (error) {
      return tlsFinding(host, error as NodeJS.ErrnoException);
    }
  }

  async coordinator(signal: AbortSignal): Promise<Finding> {
    const address = this.#text.replace(/\/$/, '') + routes.network;
    const check =
      'Check that --url is the address of a coordinator, path included; a page that asks you to sign in may stand in between.';
    let response: Response;
    const sentAt = this.#ports.now();
    try {
      response = await fetch(address, { signal, redirect: 'manual' });
    } catch (error) {
      const cause = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
      return fail(
        `What listens there does not speak HTTP as it should (${cause.code ?? cause.message}).`,
        `${check}${this.#proxyHint()}`,
      );
    }
    this.#readClock(response, sentAt);
    const body = await readSmall(response);
    const parsed = v.safeParse(networkSchema, body);
    if (!parsed.success) return fail(`What answers is no coordinator (status ${response.status}).`, check);
    const { network, version, contributorsOnline } = parsed.output;
    return ok(
      `Version ${version}, network ${network.slice(0, 10)}, ${contributorsOnline} contributors online.`,
    );
  }

  #readClock(response: Response, sentAt: number): void {
    const date = Date.parse(response.headers.get('date') ?? '');
    // A header tells the beginning of its second.
    if (!Number.isNaN(date)) this.#ahead = (sentAt + this.#ports.now()) / 2 - (date + 500);
  }

  clock(): Finding {
    if (this.#ahead === null) return skipped('The server says no time.');
    const seconds = Math.round(Math.abs(this.#ahead) / 1000);
    const way = this.#ahead > 0 ? 'ahead of' : 'behind';
    if (seconds <= clockSecondsOk) return ok('This machine and the coordinator agree on the time.');
    const detail = `This machine's clock is ${seconds} s ${way} the coordinator's.`;
    const fix =
      'Let it be set by the network: `timedatectl set-ntp true`. If it is right, tell the operator of the coordinator.';
    return seconds > clockSecondsMax ? fail(detail, fix) : warn(detail, fix);
  }

  async webSocket(signal: AbortSignal): Promise<Finding> {
    const fix =
      'A proxy in between must let WebSockets through: for nginx, proxy_http_version 1.1 and the headers Upgrade and Connection.';
    try {
      const link = await webSocketTransport(this.#text, systemClock).connect(signal);
      const first = await Promise.race([link.frames[Symbol.asyncIterator]().next(), aborted(signal)]);
      void link.close();
      const frame = first && !first.done ? decodeFromCoordinator(first.value) : null;
      if (frame?.t === 'challenge') return ok('Work can come over it.');
      return fail('The connection was opened, but no coordinator speaks on it.', fix);
    } catch {
      return fail('No WebSocket can be opened, though the coordinator answers over HTTP.', fix);
    }
  }

  #proxyHint(): string {
    if (this.#proxy.kind !== 'unused') return '';
    return ` ${this.#proxy.variable} names a proxy that Node does not use by itself: set NODE_USE_ENV_PROXY=1 if it is the only way out.`;
  }
}

async function relayCheck({ peers, url }: Config, signal: AbortSignal): Promise<Finding> {
  if (peers === 'off') return skipped('--peers off: blocks come from the coordinator alone.');
  const alone =
    'Blocks then come from the coordinator alone, which is slower and no fault: --peers off says so.';
  const info = await httpIce(url)(signal).catch(() => null);
  if (!info) return warn('The coordinator does not say how others are reached.', alone);
  if (info.relay === null) return ok('This network has no relay: blocks come from the coordinator.');
  if (peers === 'relay-only' && !info.canRelay) {
    const fix = 'Use --peers direct if others may see this address. ';
    return warn('This network has no TURN server, and --peers relay-only needs one.', `${fix}${alone}`);
  }
  const urls = info.iceServers.flatMap((server) => server.urls).filter((one) => one.startsWith('turn'));
  if (urls.length === 0) return ok('There is a relay for signalling; contributors connect directly.');
  const results = await Promise.all(urls.slice(0, 8).map((one) => reachTurn(one, signal)));
  if (results.some((reached) => reached)) return ok('A TURN server answers.');
  return warn(
    `None of ${urls.length} TURN servers answers.`,
    `Let UDP and TCP port 3478 out, or see to the server. ${alone}`,
  );
}

function dial(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', (error: NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] }) => {
      reject(error.errors?.[0] ?? error);
    });
  });
}

function shakeHands(host: string, port: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const servername = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    const socket = connectTls({ host, port, ...servername });
    const stop = () => socket.destroy(new Error('no answer'));
    signal.addEventListener('abort', stop, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', stop));
    socket.once('secureConnect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}

function tlsFinding(host: string, { code = 'no answer', message }: NodeJS.ErrnoException): Finding {
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    const detail = code === 'CERT_HAS_EXPIRED' ? 'has expired' : 'is not valid yet';
    return fail(
      `The certificate of ${host} ${detail}, as this machine's clock has it.`,
      'Check the clock of this machine; if it is right, the operator of the coordinator must renew it.',
    );
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return fail(`The certificate is for another name than ${host}.`, 'Use the name that it is for in --url.');
  }
  if (/SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)/.test(code)) {
    const fix =
      'If your network or the coordinator has an authority of its own, name its certificate: NODE_EXTRA_CA_CERTS=/path/to/ca.pem.';
    return fail(`Nobody that this machine trusts vouches for the certificate of ${host} (${code}).`, fix);
  }
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || /wrong version|packet length/i.test(message)) {
    return fail(
      `${host} does not speak TLS on this port.`,
      'Begin --url with http://, or give the port of https.',
    );
  }
  return fail(
    `There is no encrypted connection to ${host} (${code}).`,
    'Check that the address begins rightly (http:// or https://), and that nothing in between ends it.',
  );
}

async function readSmall(response: Response): Promise<unknown> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true });
      if (text.length > bodyBytesMax) return null;
    }
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(null), { once: true }));
}
