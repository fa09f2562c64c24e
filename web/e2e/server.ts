/**
 * A small coordinator look-alike for browser tests: serves a build of the page under a strict Content-Security-Policy, answers `/v1` with
 * what the test put there, keeps event streams open, and writes down everything that was asked for.
 */
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import type { JobEvent, JobStatus, NetworkInfo } from '#protocol/http/api.ts';
import { contributor, listOf, network } from './fixtures.ts';

const types: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** No inline code or style, nothing from elsewhere. */
export const strictPolicy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export interface PageServer {
  url: string;
  /** Paths in the order in which they were asked for; `upgrade ` before those of WebSockets. */
  asked: string[];
  answers: { network: NetworkInfo; status: JobStatus | null; broken: 'no' | 'unfit' | 'down' };
  send(event: JobEvent): Promise<void>;
  /** Ends every open event stream, as a restart would. */
  dropStreams(): Promise<void>;
  close(): Promise<void>;
}

export async function servePage(dist: string): Promise<PageServer> {
  const asked: string[] = [];
  const answers: PageServer['answers'] = { network, status: null, broken: 'no' };
  const streams = new Set<SSEStreamingApi>();
  const app = new Hono();
  app.use(async (c, next) => {
    asked.push(c.req.path);
    await next();
    c.header('content-security-policy', strictPolicy);
    c.header('x-content-type-options', 'nosniff');
    c.header('cross-origin-opener-policy', 'same-origin');
    c.header('cross-origin-embedder-policy', 'require-corp');
  });
  app.use('/v1/*', async (c, next) => {
    if (answers.broken === 'down') return c.text('bad gateway', 502);
    if (answers.broken === 'unfit') return c.json({ hello: 'this is not the API' });
    return next();
  });
  app.get('/v1/network', (c) => c.json(answers.network));
  app.get('/v1/jobs', (c) => c.json(listOf(answers.status)));
  app.get('/v1/jobs/:id', (c) => c.json(answers.status));
  app.get('/v1/jobs/:id/events', (c) =>
    streamSSE(c, async (stream) => {
      streams.add(stream);
      await stream.write(': hello\n\n');
      await new Promise<void>((resolve) => stream.onAbort(resolve));
      streams.delete(stream);
    }),
  );
  app.get('/v1/contributors/:address', (c) => c.json(contributor));
  app.get('*', async (c) => {
    const path = normalize(extname(c.req.path) ? c.req.path : join(c.req.path, 'index.html'));
    const body = await readFile(join(dist, path)).catch(() => null);
    if (!body) return c.text('not found', 404);
    return c.body(body, 200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' });
  });

  const server = await new Promise<Server>((resolve) => {
    const made = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, () => resolve(made as Server));
  });
  server.on('upgrade', (request, socket) => {
    asked.push(`upgrade ${request.url ?? ''}`);
    socket.destroy();
  });
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  let sequence = 0;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    answers,
    send: async (event) => {
      sequence += 1;
      const message = { id: String(sequence), event: event.type, data: JSON.stringify(event) };
      await Promise.all([...streams].map((stream) => stream.writeSSE(message)));
    },
    dropStreams: async () => {
      await Promise.all([...streams].map((stream) => stream.close()));
      server.closeAllConnections();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
