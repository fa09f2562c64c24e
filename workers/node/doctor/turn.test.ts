/** Proxies and TURN servers: what the environment and their addresses mean, and whether a server answers. */
import { createSocket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { proxyFor } from './proxy.ts';
import { parseTurn, reachTurn } from './turn.ts';

describe('proxyFor', () => {
  const target = new URL('https://atoll.example/x');
  it('goes by the scheme, the exceptions and whether Node was told to use it', () => {
    const named = { HTTPS_PROXY: 'http://proxy:3128' };
    expect(proxyFor(target, named)).toEqual({ kind: 'unused', variable: 'HTTPS_PROXY' });
    expect(proxyFor(target, { ...named, NODE_USE_ENV_PROXY: '1' })).toMatchObject({ kind: 'used' });
    expect(proxyFor(target, { http_proxy: 'http://proxy:3128' })).toEqual({ kind: 'none' });
    for (const no_proxy of ['*', 'atoll.example', '.example', 'a.b, *.example']) {
      expect(proxyFor(target, { ...named, no_proxy })).toEqual({ kind: 'none' });
    }
    expect(proxyFor(target, { ...named, no_proxy: 'oll.example' })).toMatchObject({ kind: 'unused' });
  });
});

describe('TURN', () => {
  it('reads addresses', () => {
    expect(parseTurn('turn:t.example')).toEqual({ host: 't.example', port: 3478, transport: 'udp' });
    expect(parseTurn('turns:t.example:443')).toEqual({ host: 't.example', port: 443, transport: 'tcp' });
    expect(parseTurn('turn:[::1]:3478?transport=tcp')).toEqual({ host: '::1', port: 3478, transport: 'tcp' });
    expect(parseTurn('stun:t.example')).toBeNull();
  });

  it('takes an answer to its own question only', async () => {
    const server = createSocket('udp4');
    let isHonest = false;
    server.on('message', (message, { port, address }) => {
      const answer = Buffer.from(message);
      if (!isHonest) answer.fill(0, 8);
      server.send(answer, port, address);
    });
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    const url = `turn:127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { signal } = new AbortController();
    expect(await reachTurn(url, signal)).toBe(false);
    isHonest = true;
    expect(await reachTurn(url, signal)).toBe(true);
    expect(await reachTurn(url, AbortSignal.abort())).toBe(false);
    server.close();
  });
});
