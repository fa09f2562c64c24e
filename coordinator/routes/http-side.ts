/** Puts the HTTP side together: one app from the options of a coordinator and what its service offers. */
import type { Hono } from 'hono';
import { endpoints } from '#protocol/http/table.ts';
import { openApi } from '#protocol/http/openapi.ts';
import type { NetworkInfo } from '#protocol/http/api.ts';
import type { IceInfo } from '#protocol/http/p2p.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Hex } from 'viem';
import type { Clock, Logger, Random } from '../service/ports.ts';
import { OriginLeases } from '../p2p/origin-leases.ts';
import { RecordQueries } from '../service/record-queries.ts';
import type { Service } from '../service/service.ts';
import type { Storage } from '../storage/port.ts';
import { ApiKeys } from './api-keys.ts';
import { createApp } from './app.ts';
import { addressOf, type AppEnv } from './context.ts';
import { type HostCheck, isLoopback } from './door.ts';
import { addressToCount, RateLimiter, type RateLimits } from './rate-limit.ts';
import { SignIns } from './sign-in.ts';

/** What an operator may set. */
export interface HttpOptions {
  host?: string;
  /** Host names besides the address itself; `*` allows any. */
  allowedHosts?: readonly string[];
  /** Origins of other sites whose pages may read, `*` for any; those named may write too. Any may read a public server, none a private one, unless given. */
  allowedOrigins?: readonly string[];
  /** The address that wallets are shown when they sign in, such as `https://atoll.example`. */
  publicUrl?: string;
  /** Wallets that may have keys and start jobs; `*` is any. Any on a private server, none on a public one, unless given. */
  clients?: readonly string[];
  /** Proxies in front that append to X-Forwarded-For; none unless given. */
  trustedProxies?: number;
  rateLimits?: RateLimits;
  /** Folder of the built page. */
  staticDir?: string;
}

export interface HttpPorts {
  options: HttpOptions;
  service: Service;
  storage: Storage;
  blobs: BlockStore;
  clock: Clock;
  random: Random;
  log: Logger;
  version: string;
  network: () => NetworkInfo;
  /** For a client, by its address as it is counted. */
  ice: (client: string) => IceInfo;
  ready: () => Promise<void>;
  heartbeatMs: number;
}

export interface HttpSide {
  keys: ApiKeys;
  app: (isAllowedHost: HostCheck) => Hono<AppEnv>;
}

export function createHttpSide(ports: HttpPorts): HttpSide {
  const { options, service, storage, clock, random, log } = ports;
  const { shelf } = storage;
  const { metrics, queries, events } = service;
  const host = options.host ?? '127.0.0.1';
  const isPrivate = isLoopback(host) && (options.allowedHosts ?? []).length === 0;
  const keys = new ApiKeys({ shelf, clock, random });
  const signIns = new SignIns({
    ...{ shelf, clock, random, network: service.network },
    chainId: () => ports.network().chain?.chainId ?? 1,
    publicUrl: (asked) => publicUrl(options.publicUrl, isPrivate, asked),
  });
  const clients = new Set((options.clients ?? (isPrivate ? ['*'] : [])).map((each) => each.toLowerCase()));
  return {
    keys,
    app: (isAllowedHost) =>
      createApp({
        context: {
          ...{ clock, random, log, metrics, keys },
          limiter: new RateLimiter(clock, options.rateLimits),
          trustedProxies: options.trustedProxies ?? 0,
        },
        reads: {
          ...{ queries, events, metrics, network: ports.network, ready: ports.ready },
          heartbeatMs: ports.heartbeatMs,
          leases: new OriginLeases(() => clock.now()),
          ice: ports.ice,
          clientOf: (context) => addressToCount(addressOf(context, options.trustedProxies ?? 0)),
          openApi: openApi(endpoints, ports.version),
        },
        records: {
          records: new RecordQueries({
            ...{ storage, directory: service.directory, swarm: service.swarm, events, queries, clock },
          }),
          ledger: service.ledger,
        },
        accounts: {
          ...{ keys, signIns, network: service.network },
          isClient: (wallet) => clients.has('*') || clients.has(wallet),
          link: (contributor, wallet) => link(ports, contributor, wallet),
        },
        jobs: {
          ...{ shelf, clock, blobs: ports.blobs },
          startJob: (job, corpus, stopAfterRounds, weight) =>
            service.ensureJob(job, corpus, { stopAfterRounds, ...(weight === undefined ? {} : { weight }) }),
          jobs: () => storage.jobs(),
          status: (job) => queries.job(job),
          setWeight: (job, weight) => storage.changeJob(job, { weight }),
          setAside: (job, cancelled) => service.setAside(job, cancelled),
          takeUpAgain: (job) => service.takeUpAgain(job),
          fund: (funding) => storage.fund(funding),
          poolOf: (job) => storage.ledger.poolOf(job),
          running: async () => (await queries.running()).map((job) => job.id),
        },
        isAllowedHost,
        isPrivate,
        allowedOrigins: options.allowedOrigins ?? (isPrivate ? [] : ['*']),
        staticDir: options.staticDir ?? null,
      }),
  };
}

/** Under which address a wallet is asked to sign. A public server is told; a private one knows its names. */
function publicUrl(given: string | undefined, isPrivate: boolean, host: string | undefined): string | null {
  if (given !== undefined) return new URL(given).origin;
  return isPrivate && host !== undefined ? `http://${host.toLowerCase()}` : null;
}

/** Throws `not_found` for a contributor that never connected. */
async function link(
  { service, storage: { shelf }, clock }: HttpPorts,
  contributor: Hex,
  wallet: Hex,
): Promise<void> {
  await service.queries.contributor(contributor);
  const now = clock.now();
  const value = JSON.stringify({ wallet });
  await shelf.put({ kind: 'link', key: contributor, owner: wallet, value, createdAt: now, expiresAt: null });
}
