/**
 * /healthz, /readyz and /metrics of a contributor, on 127.0.0.1 only: they say what this machine does, and nobody else needs to know.
 *
 * Alive is who answers and has not failed. Ready is whose device is open and has passed the conformance probe, and whom the coordinator has welcomed.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { readiness } from './meter.ts';
import type { Worker } from './metrics.ts';

export interface HealthOptions {
  /** 0 takes any free one. */
  port: number;
  workers: () => readonly Worker[];
  /** The text of /metrics. */
  metrics: () => Promise<{ type: string; text: string }>;
}

export interface Health {
  port: number;
  close(): Promise<void>;
}

const connectionsMax = 32;
const requestMsMax = 5_000;

/** Throws `port_busy`. */
export async function startHealth(options: HealthOptions): Promise<Health> {
  const server = createServer({
    requestTimeout: requestMsMax,
    headersTimeout: requestMsMax,
    maxHeaderSize: 8 << 10,
  });
  server.maxConnections = connectionsMax;
  server.on('request', (request, response) => void answer(options, request, response));
  await listen(server, options.port);
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new AtollError(
          'port_busy',
          `The port ${port} cannot be opened for --health-port. Choose another, or 0 for none.`,
          { cause },
        ),
      ),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
}

async function answer(
  options: HealthOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.resume(); // bodies are of no interest
  try {
    const { status, type, body } = await respond(options, request);
    response.writeHead(status, {
      'content-type': type,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? undefined : body);
  } catch (error) {
    const problem = toProblem(error);
    response.writeHead(problem.status, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify(problem));
  }
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

async function respond({ workers, metrics }: HealthOptions, request: IncomingMessage): Promise<Answer> {
  // A page whose name was made to point here (DNS rebinding) has another one in this header.
  const host = (request.headers.host ?? '').replace(/:\d+$/, '');
  if (host !== '127.0.0.1' && host !== 'localhost') throw new AtollError('forbidden', 'Ask for 127.0.0.1.');
  if (request.method !== 'GET' && request.method !== 'HEAD')
    throw new AtollError('method_not_allowed', 'Only GET.');
  const path = (request.url ?? '').split('?')[0];
  if (path === '/metrics') {
    const { type, text } = await metrics();
    return { status: 200, type, body: text };
  }
  const all = workers().map(({ label, meter: { view }, held }) => ({
    worker: label,
    phase: view?.phase ?? 'stopped',
    reason: view?.reason ?? 'Nothing runs.',
    held,
    ...readiness(view),
  }));
  if (path === '/healthz')
    return verdict(
      all.some(({ phase }) => phase !== 'failed'),
      all,
    );
  // One that takes part is enough: work is done.
  if (path === '/readyz')
    return verdict(
      all.some(({ ready }) => ready),
      all,
    );
  throw new AtollError('not_found', 'There are /metrics, /healthz and /readyz.');
}

function verdict(isGood: boolean, workers: object[]): Answer {
  return {
    status: isGood ? 200 : 503,
    type: 'application/json',
    body: `${JSON.stringify({ ok: isGood, workers })}\n`,
  };
}
