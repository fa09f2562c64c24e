/**
 * The HTTP side, thin: what comes in is checked against the route table (`protocol/http/table.ts`), handed to who knows, and answered as JSON, blocks or
 * streams; every refusal is a problem document.
 */
import { serveStatic } from '@hono/node-server/serve-static';
import { type Context, Hono } from 'hono';
import { AtollError } from '#protocol/errors.ts';
import { routes } from '#protocol/http/api.ts';
import type { Endpoint } from '#protocol/http/endpoint.ts';
import { endpoints } from '#protocol/http/table.ts';
import { addAccounts, type AccountPorts } from './account-routes.ts';
import { type AppEnv, callerScope, type ContextPorts, requestScope } from './context.ts';
import { addDocs } from './docs-page.ts';
import { addJobs, type JobPorts } from './job-routes.ts';
import { addLedger } from './ledger-routes.ts';
import { mounter } from './mount.ts';
import { crossOrigin, safeHeaders } from './origins.ts';
import { problemResponse } from './problems.ts';
import { addOperations, addReads, addRecords, type ReadPorts, type RecordPorts } from './read-routes.ts';
import { createRepeats } from './repeats.ts';

export interface AppPorts {
  context: ContextPorts;
  reads: ReadPorts;
  records: RecordPorts;
  accounts: AccountPorts;
  jobs: JobPorts;
  isAllowedHost: (host: string | undefined) => boolean;
  /** Whether only this machine can ask. */
  isPrivate: boolean;
  /** Origins of other sites whose pages may read; `*` is any. */
  allowedOrigins: readonly string[];
  /** Folder of the built page; none is served without it. */
  staticDir: string | null;
}

export function createApp(ports: AppPorts): Hono<AppEnv> {
  const { metrics, log } = ports.context;
  const app = new Hono<AppEnv>();
  app.onError((error, context) => problemResponse(context, error, metrics, log));
  app.notFound((context) => {
    const error = new AtollError('not_found', `There is nothing at ${context.req.path}.`);
    return problemResponse(context, error, metrics, log);
  });
  app.use(requestScope(ports.context));
  app.use(crossOrigin({ allowed: ports.allowedOrigins }));
  app.use(safeHeaders());
  app.use(async (context, next) => {
    if (!ports.isAllowedHost(context.req.header('host'))) {
      throw new AtollError(
        'bad_request',
        'This host name is not served here. Use the address that the coordinator printed.',
      );
    }
    await next();
  });
  app.use(callerScope(ports.context));
  addRoutes(app, ports);
  for (const [path, methods] of methodsByPath()) app.all(path, methodNotAllowed(methods));
  if (ports.staticDir !== null) addPage(app, ports.staticDir);
  return app;
}

function addRoutes(app: Hono<AppEnv>, ports: AppPorts): void {
  const repeats = createRepeats({ shelf: ports.jobs.shelf, clock: ports.context.clock });
  const tidy = sweeper(ports);
  const mount = mounter(app, { ...ports.context, repeats, tidy, isPrivate: ports.isPrivate });
  addReads(mount, ports.reads);
  addLedger(mount, ports.records);
  addRecords(mount, ports.records);
  addOperations(mount, ports.reads);
  addAccounts(mount, ports.accounts);
  addJobs(mount, ports.jobs);
  addDocs(app);
  app.get(routes.contribute, () => {
    throw new AtollError('bad_request', 'This is a WebSocket endpoint. Open it with a WebSocket client.');
  });
}

const sweepMs = 60_000;

/** Removes nonces, answers and files that have run out, once a minute while anything of the kind is made. */
function sweeper({ jobs: { shelf }, context: { clock, log } }: AppPorts): () => void {
  let sweptAt = clock.now();
  return () => {
    if (clock.now() - sweptAt < sweepMs) return;
    sweptAt = clock.now();
    shelf
      .sweep(sweptAt)
      .catch((err: unknown) => log.warn({ err }, 'Small records that ran out are still kept.'));
  };
}

/** Every path that is known, with what it answers; HEAD comes with GET. */
function methodsByPath(): Map<string, string[]> {
  const all: readonly Endpoint[] = Object.values(endpoints);
  const paths = [...new Set([...all.map((endpoint) => endpoint.path), routes.contribute, routes.docs])];
  return new Map(
    paths.map((path) => {
      const named = all.filter((endpoint) => endpoint.path === path).map((endpoint) => endpoint.method);
      const methods = named.length > 0 ? named : ['GET' as const];
      return [path, methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]))];
    }),
  );
}

function methodNotAllowed(methods: readonly string[]) {
  return (context: Context): never => {
    context.header('Allow', methods.join(', '));
    throw new AtollError('method_not_allowed', `${context.req.path} answers ${methods.join(', ')} only.`);
  };
}

/** The built page. Names under /assets carry a hash of their content. */
function addPage(app: Hono<AppEnv>, staticDir: string): void {
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
