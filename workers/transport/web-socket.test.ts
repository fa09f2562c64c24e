/** The transport against a real WebSocket server. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { limits } from '#protocol/limits.ts';
import { systemClock } from './platform.ts';
import { contributeUrl, webSocketTransport } from './web-socket.ts';

let server: Server;
let sockets: WebSocketServer;
let url: string;
const never = new AbortController().signal;

beforeEach(async () => {
  server = createServer((_, response) => response.writeHead(404).end());
  sockets = new WebSocketServer({ server, path: '/v1/contribute', perMessageDeflate: false });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  for (const client of sockets.clients) client.terminate();
  sockets.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const accepted = () => new Promise<WebSocket>((resolve) => sockets.once('connection', resolve));

describe('contributeUrl', () => {
  it.each([
    ['http://127.0.0.1:8080', 'ws://127.0.0.1:8080/v1/contribute'],
    ['https://atoll.example/', 'wss://atoll.example/v1/contribute'],
    ['https://example.org/atoll/?x=1#y', 'wss://example.org/atoll/v1/contribute'],
  ])('%s', (from, to) => expect(contributeUrl(from)).toBe(to));

  it.each(['', 'localhost:80', 'ftp://host', 'javascript:alert(1)'])('refuses %j', (bad) => {
    expect(() => contributeUrl(bad)).toThrow(expect.objectContaining({ code: 'bad_config' }));
  });
});

describe('webSocketTransport', () => {
  it('carries whole frames both ways and ends when the other side closes', async () => {
    const server = accepted();
    const link = await webSocketTransport(url, systemClock).connect(never);
    const peer = await server;
    const got = new Promise<Buffer>((resolve) => peer.once('message', (data) => resolve(data as Buffer)));
    await link.send(new Uint8Array([1, 2, 3]));
    expect(new Uint8Array(await got)).toEqual(new Uint8Array([1, 2, 3]));
    peer.send(new Uint8Array([4]));
    peer.send(new Uint8Array([5, 6]));
    peer.send('text is no frame');
    peer.close();
    const frames: Uint8Array[] = [];
    for await (const frame of link.frames) frames.push(frame);
    expect(frames).toEqual([new Uint8Array([4]), new Uint8Array([5, 6]), new Uint8Array()]);
    await expect(link.send(new Uint8Array([7]))).rejects.toMatchObject({ code: 'unavailable' });
    await link.close();
  });

  it('sends what was queued before it closes', async () => {
    const server = accepted();
    const link = await webSocketTransport(url, systemClock).connect(never);
    const peer = await server;
    const sizes: number[] = [];
    peer.on('message', (data) => sizes.push((data as Buffer).byteLength));
    const closed = new Promise((resolve) => peer.once('close', resolve));
    const big = new Uint8Array(limits.blockBytesMax);
    const sends = Array.from({ length: 6 }, () => link.send(big).catch(() => {}));
    await link.close();
    await Promise.all([closed, ...sends]);
    expect(sizes).toEqual(Array(6).fill(limits.blockBytesMax));
  });

  it('holds the sender back while much is queued, and lets go when the link dies', async () => {
    const server = accepted();
    const link = await webSocketTransport(url, systemClock).connect(never);
    const peer = await server;
    peer.pause();
    let sent = 0;
    const flood = (async () => {
      for (; sent < 200; sent++) await link.send(new Uint8Array(limits.blockBytesMax));
    })();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent).toBeLessThan(200);
    peer.terminate();
    await expect(flood).rejects.toMatchObject({ code: 'unavailable' });
    expect(sent).toBeLessThan(200);
  });

  it('says unavailable when nobody listens or the path is another', async () => {
    const elsewhere = webSocketTransport(`${url}/elsewhere`, systemClock);
    await expect(elsewhere.connect(never)).rejects.toMatchObject({ code: 'unavailable' });
    const nobody = webSocketTransport('http://127.0.0.1:1', systemClock);
    await expect(nobody.connect(never)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('gives up at once when told to', async () => {
    const abort = new AbortController();
    const connecting = webSocketTransport(url, systemClock).connect(abort.signal);
    abort.abort();
    await expect(connecting).rejects.toMatchObject({ code: 'cancelled' });
    await expect(webSocketTransport(url, systemClock).connect(abort.signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});
