/** What follows from what the coordinator says of reaching others. */
import { expect, it } from 'vitest';
import type { IceInfo } from '#protocol/http/p2p.ts';
import { type AddressChoice, Reach, relayAddress } from './reach.ts';

const peer = '12D3KooWGi6KLr5kWKZbe82C8524T5oePXWAjB77xDLxKkj16vd3';
const signal = new AbortController().signal;

it.each([
  ['http://127.0.0.1:4400', '/ip4/127.0.0.1/tcp/4400/ws'],
  ['http://localhost', '/dns/localhost/tcp/80/ws'],
  ['https://atoll.example/', '/dns/atoll.example/tcp/443/tls/ws'],
  ['http://[::1]:9', '/ip6/::1/tcp/9/ws'],
])('the relay behind %s is at %s', (url, address) => {
  expect(relayAddress(url, peer)).toBe(`${address}/p2p/${peer}`);
});

function reachOf(info: Partial<IceInfo>, choice: AddressChoice = 'direct') {
  const asked = { times: 0, now: 0 };
  const reach = new Reach({
    url: 'http://a',
    choice,
    date: () => asked.now,
    fetchIce: async () => {
      asked.times++;
      return { relay: peer, iceServers: [], canRelay: false, expires: null, ...info };
    },
  });
  return { reach, asked };
}

it('tells nobody this address unless that was chosen, and names no server of its own', async () => {
  const turn = { canRelay: true, iceServers: [{ urls: ['turn:a'], username: 'u', credential: 'c' }] };
  const hidden = reachOf(turn, 'relay-only').reach;
  expect(await hidden.rtcConfiguration()).toEqual({
    iceTransportPolicy: 'relay',
    iceServers: turn.iceServers,
  });
  await expect(reachOf({}, 'relay-only').reach.current(signal)).rejects.toThrow('TURN');
  expect(await reachOf({}).reach.rtcConfiguration()).toEqual({ iceTransportPolicy: 'all', iceServers: [] });
});

it('is unavailable where there is no relay', async () => {
  await expect(reachOf({ relay: null }).reach.current(signal)).rejects.toMatchObject({ code: 'unavailable' });
});

it('asks again when credentials are about to end, and when the relay was lost', async () => {
  const { reach, asked } = reachOf({ expires: 1_000_000 });
  await reach.current(signal);
  await reach.current(signal);
  expect(asked.times).toBe(1);
  asked.now = 950_000;
  await reach.current(signal);
  expect(asked.times).toBe(2);
  asked.now = 0;
  await reach.relay(signal);
  expect(asked.times).toBe(3);
});

it('does not remember a refusal', async () => {
  let isDown = true;
  const reach = new Reach({
    url: 'http://a',
    choice: 'direct',
    date: () => 0,
    fetchIce: async () => {
      if (isDown) throw new Error('down');
      return { relay: peer, iceServers: [], canRelay: false, expires: null };
    },
  });
  await expect(reach.current(signal)).rejects.toThrow('down');
  isDown = false;
  await expect(reach.current(signal)).resolves.toMatchObject({ relay: peer });
});
