/**
 * Which pages of other sites may ask, and the headers that keep ours safe.
 *
 * What is public may be read from the named origins. Writes need a key or a signature, which no browser sends by itself, and no cookie exists; even so only origins
 * that are named one by one may send them. A coordinator on its own machine names none: what it trains is nobody else's business.
 */
import type { MiddlewareHandler } from 'hono';
import { secureHeaders } from 'hono/secure-headers';

export interface OriginRules {
  /** Origins whose pages may read; `*` is any. Those named one by one may write too. */
  allowed: readonly string[];
}

const exposed = [
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'X-Request-Id',
  'ETag',
  'Link',
  'Location',
  'Idempotency-Replayed',
  'Content-Length',
  'Content-Range',
  'X-Ipfs-Path',
  'X-Ipfs-Roots',
].join(', ');
const requestHeaders =
  'Atoll-Swarm, Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Range, X-Request-Id';
const preflightSeconds = '7200';
/** Only these paths are for other sites; pages and operations are not. */
const shared = /^\/(v1\/|ipfs\/|openapi\.json$)/;

export function crossOrigin({ allowed }: OriginRules): MiddlewareHandler {
  const named = new Set(allowed.filter((origin) => origin !== '*').map((origin) => origin.toLowerCase()));
  const any = allowed.includes('*');
  return async (context, next) => {
    const origin = context.req.header('origin')?.toLowerCase();
    const mayWrite = origin !== undefined && named.has(origin);
    const mayRead = shared.test(context.req.path) && (any || mayWrite);
    if (context.req.method === 'OPTIONS' && context.req.header('access-control-request-method')) {
      const methods = mayWrite ? 'GET, HEAD, POST, PATCH, DELETE' : 'GET, HEAD';
      const headers: Record<string, string> = mayRead
        ? {
            'Access-Control-Allow-Origin': mayWrite ? origin : '*',
            'Access-Control-Allow-Methods': methods,
            'Access-Control-Allow-Headers': requestHeaders,
            'Access-Control-Max-Age': preflightSeconds,
          }
        : {};
      return context.body(null, 204, { ...headers, Vary: 'Origin' });
    }
    await next();
    context.res.headers.append('Vary', 'Origin');
    if (!mayRead) return;
    context.res.headers.set('Access-Control-Allow-Origin', mayWrite ? origin : '*');
    context.res.headers.set('Access-Control-Expose-Headers', exposed);
    context.res.headers.set('Cross-Origin-Resource-Policy', 'cross-origin');
  };
}

/**
 * The page runs our own scripts and workers, compiles WebAssembly, and talks to nobody but this server. It is cross-origin isolated (with the opener policy
 * that is the default here), so that WebAssembly may use threads.
 */
export function safeHeaders(): MiddlewareHandler {
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'self'"],
      scriptSrc: ["'self'", "'wasm-unsafe-eval'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:'],
      workerSrc: ["'self'", 'blob:'],
      connectSrc: ["'self'", 'ws:', 'wss:'],
      objectSrc: ["'none'"],
      baseUri: ["'none'"],
      formAction: ["'self'"],
      frameAncestors: ["'self'"],
    },
    crossOriginEmbedderPolicy: 'require-corp',
    referrerPolicy: 'no-referrer',
    permissionsPolicy: { camera: [], microphone: [], geolocation: [], payment: [], usb: [] },
    // The coordinator itself speaks HTTP; who puts TLS before it says so there.
    strictTransportSecurity: false,
  });
}
