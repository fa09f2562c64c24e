/** The relay behind the coordinator's one port: who is led to it, what of a request reaches it, and that nothing of it outlives the coordinator. */
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { iceSchema } from '#protocol/http/p2p.ts';
import { limits } from '#protocol/limits.ts';
import * as v from 'valibot';
import { createCoordinator } from '../main.ts';
import { fakeInitialCheckpoint } from '../testing/fake-programs.ts';
import { temporaryFolder } from '../testing/harness.ts';
import { RelayDoor } from './relay-door.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function openCoordinator(p2p: object | null) {
  const coordinator = await createCoordinator({
    ...{ port: 0, dataDir: await temporaryFolder(), initialCheckpoint: fakeInitialCheckpoint },
    p2p,
  });
  undo.push(() => coordinator.close());
  const ice = v.parse(iceSchema, await (await fetch(`${coordinator.url}/v1/ice`)).json());
  return { coordinator, ice };
}

/** The status with which a WebSocket is refused, or 101. */
function ask(url: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  const socket = new WebSocket(url.replace('http', 'ws') + path, { headers });
  undo.push(() => socket.terminate());
  return new Promise((resolve, reject) => {
    socket.on('open', () => resolve(101));
    socket.on('unexpected-response', (_, response) => resolve(response.statusCode ?? 0));
    socket.on('error', reject);
  });
}

it('is asked for on the one port, and goes with the coordinator', async () => {
  const { coordinator, ice } = await openCoordinator({});
  expect(ice).toMatchObject({ iceServers: [], canRelay: false, expires: null });
  expect(ice.relay).toMatch(/^12D3/);
  expect(await ask(coordinator.url, '/p2p')).toBe(101);
  expect(await ask(coordinator.url, '/')).toBe(101);
  expect(await ask(coordinator.url, '/elsewhere')).toBe(404);
  expect(await ask(coordinator.url, '/', { host: 'rebound.example' })).toBe(400);
  const metrics = await (await fetch(`${coordinator.url}/metrics`)).text();
  expect(metrics).toMatch(/atoll_relay_connections \d/);
  expect(metrics).toMatch(/atoll_relay_reservations 0/);
  // With sockets to the relay open.
  await coordinator.close();
  undo.length = 0;
});

it('is not there where it is switched off', async () => {
  const { coordinator, ice } = await openCoordinator(null);
  expect(ice.relay).toBeNull();
  expect(await ask(coordinator.url, '/p2p')).toBe(404);
});

/** A door to a plain TCP server, and what that heard. */
async function openDoorAlone() {
  const heard: string[] = [];
  const sockets = new Set<Socket>();
  const relay = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('data', (data) => heard.push(data.toString())).on('error', () => undefined);
  });
  const server: Server = createServer();
  for (const each of [relay, server]) {
    await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve));
  }
  const door = new RelayDoor((relay.address() as AddressInfo).port);
  const refused: string[] = [];
  server.on('upgrade', (request, socket, head) => {
    try {
      door.admit(request, socket, head, String(request.headers['x-client']));
    } catch (error) {
      refused.push((error as { code: string }).code);
      socket.destroy();
    }
  });
  undo.push(() => {
    door.close();
    for (const socket of sockets) socket.destroy();
    relay.close();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const open = (client: string, more = '') => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    undo.push(() => socket.destroy());
    socket.write(
      `GET /p2p HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nX-Client: ${client}\r\n${more}\r\n`,
    );
    return socket;
  };
  return { heard, sockets, refused, open };
}

it('hears the key of a WebSocket and no cookie or address', async () => {
  const { heard, open } = await openDoorAlone();
  open('a', 'Cookie: secret\r\nX-Forwarded-For: 192.0.2.1\r\n');
  await expect.poll(() => heard.join('')).toContain('sec-websocket-key: k');
  expect(heard.join('')).not.toMatch(/secret|192\.0\.2\.1|x-client/i);
});

it('has so many connections for one address, and room again when they end', async () => {
  const { refused, sockets, open } = await openDoorAlone();
  const most = limits.relayConnectionsPerAddressMax;
  const opened = Array.from({ length: most }, () => open('a'));
  await expect.poll(() => sockets.size).toBe(most);
  open('a');
  await expect.poll(() => refused).toEqual(['rate_limited']);
  open('b');
  await expect.poll(() => sockets.size).toBe(most + 1);
  opened[0]?.destroy();
  await expect
    .poll(async () => {
      open('a');
      await new Promise((resolve) => setTimeout(resolve, 20));
      return sockets.size > most + 1;
    })
    .toBe(true);
});
