/**
 * The door of a coordinator: one port for HTTP and WebSocket, with what has to be said before a request reaches the routes.
 *
 * What is not HTTP at all, comes too slowly or is too long gets a problem document too, and its connection is closed. Who may be asked under which
 * name is decided here, against DNS rebinding.
 */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { type WebSocket, WebSocketServer } from 'ws';
import { AtollError, toProblem } from '#protocol/errors.ts';
import { routes } from '#protocol/http/api.ts';
import { relayPath } from '#protocol/http/p2p.ts';
import { limits } from '#protocol/limits.ts';
import type { AppEnv } from './context.ts';

export interface Door {
  /** `http://host:port`. */
  url: string;
  port: number;
  /** Asks without a socket, as a request that arrived by one. */
  fetch(request: Request): Promise<Response>;
  close(): Promise<void>;
}

export interface DoorPorts {
  host: string;
  /** 0 takes any free one. */
  port: number;
  /** Host names besides the address itself; `*` allows any. */
  allowedHosts: readonly string[];
  app: (isAllowedHost: HostCheck) => Hono<AppEnv>;
  /** A WebSocket has been opened on the contribute route. */
  admit: (socket: WebSocket, request: IncomingMessage) => void;
  /** A WebSocket is asked for on the relay's route: takes its socket over, or throws. None without a relay. */
  relay?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
}

export type HostCheck = (header: string | undefined) => boolean;

/** How long connections may take to say goodbye. */
const goodbyeMs = 250;
/** A request, its body included, must have arrived within this time. */
const requestMsMax = 5 * 60_000;
const headersMsMax = 20_000;

/** Throws `port_busy` or `bad_config`, each naming the remedy. */
export async function openDoor(ports: DoorPorts): Promise<Door> {
  const { host } = ports;
  const server = createServer({ requestTimeout: requestMsMax, headersTimeout: headersMsMax });
  const port = await listen(server, ports.port, host);
  const isAllowedHost = hostCheck(host, port, ports.allowedHosts);
  const app = ports.app(isAllowedHost);
  const errorHandler = () =>
    problemOf(new AtollError('bad_request', 'The address or a header is malformed.'));
  const listener = getRequestListener(app.fetch, { errorHandler });
  server.on('request', (request, response) => void listener(request, response));
  server.on('clientError', (error, socket) => refuse(socket, clientError(error)));
  // `ws` refuses a larger frame by its header, before it reads it.
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: limits.frameBytesMax,
    perMessageDeflate: false,
  });
  server.on('upgrade', (request, socket, head) => {
    const refusal = upgradeRefusal(request, isAllowedHost, ports.relay !== undefined);
    if (refusal) return refuse(socket, refusal);
    if (isForRelay(request)) return lead(request, socket, head, ports.relay);
    sockets.handleUpgrade(request, socket, head, (opened) => ports.admit(opened, request));
  });
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    fetch: async (request) => app.fetch(request),
    close: async () => {
      for (const client of sockets.clients) client.close(1001);
      const late = setTimeout(() => {
        for (const client of sockets.clients) client.terminate();
        server.closeAllConnections();
      }, goodbyeMs);
      await new Promise<void>((resolve) => server.close(() => resolve()));
      clearTimeout(late);
    },
  };
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(listenError(cause, port, host)));
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

function listenError(cause: NodeJS.ErrnoException, port: number, host: string): AtollError {
  if (cause.code === 'EADDRINUSE') {
    const message = `Port ${port} on ${host} is taken by another program. Stop it, or choose another with --port (0 takes any free one).`;
    return new AtollError('port_busy', message, { cause, details: { port } });
  }
  const message = `The coordinator cannot listen on ${host}:${port}: ${cause.message}. Choose another --host or --port.`;
  return new AtollError('bad_config', message, { cause });
}

export function isLoopback(host: string): boolean {
  return /^(127\.|::1$|localhost$)/.test(host);
}

/**
 * Against DNS rebinding: a page of another site must not reach a coordinator on this machine under its own name. Only a loopback server
 * checks unless names are given, since a public one is reached by names it cannot know.
 */
function hostCheck(host: string, port: number, allowed: readonly string[]): HostCheck {
  if (allowed.includes('*') || (!isLoopback(host) && allowed.length === 0)) return () => true;
  const names = new Set(
    ['127.0.0.1', 'localhost', '[::1]', host, ...allowed].map((name) => name.toLowerCase()),
  );
  return (header) => {
    const name = (header ?? '').toLowerCase();
    return names.has(name) || (name.endsWith(`:${port}`) && names.has(name.slice(0, -`:${port}`.length)));
  };
}

const pathOf = (request: IncomingMessage) => (request.url ?? '').split('?')[0] as string;
/** libp2p's clients cannot name a path. */
const isForRelay = (request: IncomingMessage) => ['/', relayPath].includes(pathOf(request));

function lead(request: IncomingMessage, socket: Duplex, head: Buffer, relay: DoorPorts['relay']): void {
  try {
    relay?.(request, socket, head);
  } catch (error) {
    refuse(socket, error);
  }
}

function upgradeRefusal(
  request: IncomingMessage,
  isAllowedHost: HostCheck,
  hasRelay: boolean,
): AtollError | null {
  const path = pathOf(request);
  if (path !== routes.contribute && !(hasRelay && isForRelay(request))) {
    return new AtollError('not_found', `There is no WebSocket at ${path}; it is at ${routes.contribute}.`);
  }
  if (!isAllowedHost(request.headers.host)) {
    return new AtollError('bad_request', 'This host name is not served here.');
  }
  return null;
}

/** What Node says of a connection that does not speak HTTP as it should. */
function clientError(error: NodeJS.ErrnoException): AtollError {
  if (error.code === 'HPE_HEADER_OVERFLOW') return new AtollError('too_large', 'The headers are too long.');
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new AtollError('bad_request', 'The request took too long to arrive.');
  }
  return new AtollError('bad_request', 'This is not an HTTP request.');
}

function problemOf(error: AtollError): Response {
  const problem = toProblem(error);
  return Response.json(problem, {
    status: problem.status,
    headers: { 'content-type': 'application/problem+json', 'x-content-type-options': 'nosniff' },
  });
}

/** Says why on the bare socket, where no request has been read. */
function refuse(socket: Duplex, error: unknown): void {
  socket.on('error', () => undefined);
  if (!socket.writable) return void socket.destroy();
  const problem = toProblem(error);
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
