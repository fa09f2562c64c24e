/** ICE servers: none unless the operator named some, and credentials that coturn's REST scheme accepts. */
import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { p2pOptionsOf, parseConfig } from '../config.ts';
import { iceServersFor } from './ice.ts';

const now = 1_800_000_000_000;

it('names no server of its own accord', () => {
  expect(iceServersFor({}, 'a', now)).toEqual({ iceServers: [], canRelay: false, expires: null });
});

it('makes credentials that end, for one client always under the same name', () => {
  const turn = { urls: ['turn:turn.example:3478'], secret: 'a secret' };
  const first = iceServersFor({ turn, stunUrls: ['stun:stun.example'] }, '192.0.2.1', now);
  expect(first).toMatchObject({ canRelay: true, expires: now + limits.turnCredentialMs });
  const [stun, server] = first.iceServers;
  expect(stun).toEqual({ urls: ['stun:stun.example'] });
  const [expiry, user] = server?.username?.split(':') ?? [];
  expect(Number(expiry)).toBe((now + limits.turnCredentialMs) / 1000);
  expect(user).not.toContain('192');
  const password = createHmac('sha1', turn.secret).update(`${expiry}:${user}`).digest('base64');
  expect(server?.credential).toBe(password);
  const userOf = (client: string) => iceServersFor({ turn }, client, now + 5000).iceServers[0]?.username;
  expect(userOf('192.0.2.1')?.split(':')[1]).toBe(user);
  expect(userOf('192.0.2.2')?.split(':')[1]).not.toBe(user);
});

it('is configured by the environment; half a TURN server is refused', () => {
  expect(p2pOptionsOf(parseConfig({}, {}))).toEqual({ stunUrls: [] });
  expect(p2pOptionsOf(parseConfig({}, { ATOLL_P2P: 'off' }))).toBeNull();
  const env = { ATOLL_TURN_URLS: 'turn:a:1, turns:b:2', ATOLL_TURN_SECRET: 's' };
  const turn = { urls: ['turn:a:1', 'turns:b:2'], secret: 's' };
  expect(p2pOptionsOf(parseConfig({}, env))).toEqual({ stunUrls: [], turn });
  for (const half of [{ ATOLL_TURN_URLS: 'turn:a:1' }, { ATOLL_TURN_SECRET: 's' }]) {
    expect(() => p2pOptionsOf(parseConfig({}, half))).toThrow('go together');
  }
  expect(() => parseConfig({}, { ATOLL_TURN_URLS: 'http://a' })).toThrow('ATOLL_TURN_URLS');
  expect(() => parseConfig({}, { ATOLL_STUN_URLS: 'turn:a' })).toThrow('ATOLL_STUN_URLS');
});
