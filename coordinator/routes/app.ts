/**
 * The HTTP side, thin: parses what comes in, asks `Queries`, answers JSON, blocks or streams. The table of routes is in `protocol/http/api.ts`.
 */
import { serveStatic } from '@hono/node-server/serve-static';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import * as v from 'valibot';
import { parseCid, rawCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type NetworkInfo, routes } from '#protocol/http/api.ts';
import { addressSchema } from '#protocol/messages/contribution.ts';
import type { EventHub } from '../service/events.ts';
import type { Metrics } from '../service/metrics.ts';
import type { Logger } from '../service/ports.ts';
import type { Queries } from '../service/queries.ts';
import { jobEvents } from './job-events.ts';
import { methodNotAllowed, problemResponse } from './problems.ts';

export interface AppPorts {
  queries: Queries;
  events: EventHub;
  metrics: Metrics;
  log: Logger;
  network: () => NetworkInfo;
  /** Fails when nothing can be written. */
  ready: () => Promise<void>;
  isAllowedHost: (host: string | undefined) => boolean;
  heartbeatMs: number;
  /** Folder of the built page; none is served without it. */
  staticDir: string | null;
}

/** Requests carry no bodies so far. */
const bodyBytesMax = 64 << 10;
const blockMaxAge = 'public, max-age=29030400, immutable';

export function createApp(ports: AppPorts): Hono {
  const { metrics, log } = ports;
  const app = new Hono();
  app.onError((error, context) => withHeaders(context, problemResponse(error, metrics, log)));
  app.notFound((context) => {
    const error = new AtollError('not_found', `There is nothing at ${context.req.path}.`);
    return withHeaders(context, problemResponse(error, metrics, log));
  });
  app.use(async (context, next) => {
    if (!ports.isAllowedHost(context.req.header('host'))) {
      throw new AtollError(
        'bad_request',
        'This host name is not served here. Use the address that the coordinator printed.',
      );
    }
    await next();
  });
  app.use(secure());
  app.use(bodyLimit({ maxSize: bodyBytesMax, onError: tooLarge }));
  addApi(app, ports);
  addOperations(app, ports);
  for (const path of Object.values(routes)) app.all(path, methodNotAllowed);
  if (ports.staticDir !== null) addPage(app, ports.staticDir);
  return app;
}

function tooLarge(): never {
  throw new AtollError('too_large', `A request body has at most ${bodyBytesMax} bytes.`);
}

/** Error responses replace the context's own, so what was set on it is carried over. */
function withHeaders(context: Context, response: Response): Response {
  const allow = context.res.headers.get('Allow');
  if (allow !== null) response.headers.set('Allow', allow);
  response.headers.set('X-Content-Type-Options', 'nosniff');
  return response;
}

/**
 * The page runs our own scripts and workers, compiles WebAssembly, and talks to nobody but this server. It is cross-origin isolated (with the opener policy
 * that is the default here), so that WebAssembly may use threads.
 */
function secure() {
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
      frameAncestors: ["'self'"],
    },
    crossOriginEmbedderPolicy: 'require-corp',
    referrerPolicy: 'no-referrer',
    // The coordinator itself speaks HTTP; who puts TLS before it says so there.
    strictTransportSecurity: false,
  });
}

function addApi(app: Hono, ports: AppPorts): void {
  const { queries } = ports;
  app.get(routes.contribute, () => {
    throw new AtollError('bad_request', 'This is a WebSocket endpoint. Open it with a WebSocket client.');
  });
  app.get(routes.network, (context) => fresh(context, ports.network()));
  app.get(routes.jobs, async (context) => fresh(context, await queries.jobs()));
  app.get(routes.job, async (context) => fresh(context, await queries.job(cidParam(context, 'id'))));
  app.get(routes.jobEvents, (context) => jobEvents(context, cidParam(context, 'id'), ports));
  app.get(routes.unit, async (context) => fresh(context, await queries.unit(cidParam(context, 'cid'))));
  app.get(routes.contributor, async (context) => {
    const address = v.safeParse(addressSchema, context.req.param('address').toLowerCase());
    if (!address.success) throw new AtollError('bad_request', 'Not an address: 0x and 40 hex digits.');
    return fresh(context, await queries.contributor(address.output));
  });
  app.get(routes.block, async (context) => {
    const cid = cidParam(context, 'cid');
    const isRaw = parseCid(cid).code === rawCode;
    if (context.req.header('if-none-match') === `"${cid}"`) {
      return context.body(null, 304, { etag: `"${cid}"`, 'cache-control': blockMaxAge });
    }
    const bytes = await queries.block(cid);
    return context.body(bytes as Uint8Array<ArrayBuffer>, 200, {
      'content-type': isRaw ? 'application/vnd.ipld.raw' : 'application/vnd.ipld.dag-cbor',
      'content-disposition': `attachment; filename="${cid}.${isRaw ? 'bin' : 'cbor'}"`,
      'cache-control': blockMaxAge,
      etag: `"${cid}"`,
    });
  });
}

function addOperations(app: Hono, { ready, metrics }: AppPorts): void {
  app.get(routes.health, (context) => fresh(context, { status: 'ok' }));
  app.get(routes.ready, async (context) => {
    await ready();
    return fresh(context, { status: 'ready' });
  });
  app.get(routes.metrics, async (context) =>
    context.body(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType }),
  );
}

/** The built page. Names under /assets carry a hash of their content. */
function addPage(app: Hono, staticDir: string): void {
  app.use(
    '/*',
    serveStatic({
      root: staticDir,
      onFound: (_path, context) => {
        const hashed = context.req.path.startsWith('/assets/');
        context.header('Cache-Control', hashed ? 'public, max-age=31536000, immutable' : 'no-cache');
      },
    }),
  );
}

function fresh(context: Context, value: object): Response {
  return context.json(value, 200, { 'cache-control': 'no-store' });
}

function cidParam(context: Context, name: string): string {
  const cid = context.req.param(name) ?? '';
  parseCid(cid);
  return cid;
}
