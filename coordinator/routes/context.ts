/** What is known of a request before its route is: its id, who asks, what it was counted against. */
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler } from 'hono';
import { AtollError } from '#protocol/errors.ts';
import type { Bucket } from '#protocol/http/endpoint.ts';
import type { Metrics } from '../service/metrics.ts';
import type { Clock, Logger, Random } from '../service/ports.ts';
import type { ApiKeys, Principal } from './api-keys.ts';
import {
  addressToCount,
  clientAddress,
  type Count,
  type RateLimiter,
  rateLimitHeaders,
  tooMany,
} from './rate-limit.ts';

export interface Variables {
  requestId: string;
  principal: Principal | null;
  counts: Count[];
  /** The path of the table, for metrics and logs; empty for what is not in it. */
  route: string;
}
/** Bindings are missing where a request does not come from a socket. */
export interface AppEnv {
  Variables: Variables;
  Bindings: Partial<HttpBindings>;
}
export type AppContext = Context<AppEnv>;
export type AppMiddleware = MiddlewareHandler<AppEnv>;

export interface ContextPorts {
  clock: Clock;
  random: Random;
  log: Logger;
  metrics: Metrics;
  limiter: RateLimiter;
  keys: ApiKeys;
  /** Proxies in front that append to X-Forwarded-For. */
  trustedProxies: number;
}

/** Outermost: gives the request its id and tells log and metrics how it ended. */
export function requestScope({ clock, random, log, metrics }: ContextPorts): AppMiddleware {
  return async (context, next) => {
    const given = context.req.header('x-request-id');
    const requestId =
      given !== undefined && /^[\w.:-]{1,64}$/.test(given) ? given : random.bytes32().slice(2, 26);
    context.set('requestId', requestId);
    context.set('principal', null);
    context.set('counts', []);
    context.set('route', '');
    const from = clock.now();
    await next();
    context.res.headers.set('X-Request-Id', requestId);
    for (const [name, value] of Object.entries(rateLimitHeaders(context.get('counts')))) {
      context.res.headers.set(name, value);
    }
    const { method } = context.req;
    const { status } = context.res;
    const route = context.get('route');
    const ms = clock.now() - from;
    metrics.request(method, route, status, ms);
    log.debug({ requestId, method, route, status, ms }, 'A request was answered.');
  };
}

/** Says who asks, by the key in Authorization, and counts the request. Other schemes are a proxy's business. */
export function callerScope(ports: ContextPorts): AppMiddleware {
  return async (context, next) => {
    // An address is counted before its key is looked up, or guessing keys would be free.
    const authorization = context.req.header('authorization');
    const bearer = /^Bearer +(.*)$/i.exec(authorization ?? '')?.[1];
    const bucket = context.req.path.startsWith('/ipfs/') ? 'block' : 'read';
    if (bearer === undefined) countRequest(context, ports, bucket);
    else {
      const principal = await ports.keys.find(bearer);
      if (!principal) {
        countRequest(context, ports, 'sign-in');
        context.header('WWW-Authenticate', 'Bearer realm="atoll"');
        throw new AtollError('unauthorized', 'This API key is not known here, has ended, or has run out.');
      }
      context.set('principal', principal);
      countRequest(context, ports, bucket);
    }
    await next();
  };
}

/** Throws `rate_limited`. */
export function countRequest(context: AppContext, ports: ContextPorts, bucket: Bucket): void {
  const { limiter } = ports;
  const principal = context.get('principal');
  const counts = [
    principal
      ? limiter.count('key', principal.keyId, bucket)
      : limiter.count('address', addressToCount(addressOf(context, ports.trustedProxies)), bucket),
  ];
  const site = siteOf(context);
  if (site !== null) counts.push(limiter.count('site', site, bucket));
  context.set('counts', [...context.get('counts'), ...counts]);
  const refused = counts.find((count) => !count.allowed);
  if (!refused) return;
  context.header('Retry-After', String(refused.resetSeconds));
  throw tooMany(refused);
}

export function addressOf(context: AppContext, trusted: number): string | undefined {
  const socket = context.env?.incoming?.socket.remoteAddress;
  return clientAddress(socket, context.req.header('x-forwarded-for'), trusted);
}

/** The site whose page asks, when that is another one. */
function siteOf(context: AppContext): string | null {
  const origin = context.req.header('origin');
  if (origin === undefined || origin === 'null' || origin.length > 256) return null;
  try {
    const { host } = new URL(origin);
    return host === context.req.header('host') ? null : host;
  } catch {
    return null;
  }
}
