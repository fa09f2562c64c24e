/** What event streams are told, and what it costs when nobody listens. */
import { expect, test } from 'vitest';
import type { JobEvent } from '#protocol/http/api.ts';
import { EventHub } from './events.ts';

const event: JobEvent = { type: 'contributors', online: 1 };

test('what was lost shows as a gap to whoever comes back', () => {
  const hub = new EventHub({ now: () => 1_000 });
  hub.publish('job', event);
  const { seq } = hub;
  hub.publish('job', event);
  expect(hub.since('job', seq)).toMatchObject({ events: [{ event }], gap: false });
  hub.lose();
  expect(hub.since('job', seq)).toEqual({ events: [], gap: true });
  expect(hub.since('job', hub.seq)).toEqual({ events: [], gap: false });
});

test('is heard while somebody listens, and a minute longer', () => {
  let now = 1_000_000;
  const hub = new EventHub({ now: () => now });
  expect(hub.isHeard).toBe(false);
  const leave = hub.subscribe('job', () => undefined);
  now += 1_000_000;
  expect(hub.isHeard).toBe(true);
  leave();
  expect(hub.isHeard).toBe(true);
  now += 60_000;
  expect(hub.isHeard).toBe(false);
});
