/** Everybody is pinged once in every interval, and never all at once. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { startPings } from './pings.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('every connection gets one ping in every interval, a share of them at a time', () => {
  let atOnce = 0;
  const sessions = Array.from({ length: 1_000 }, (_, connection) => ({
    connection,
    pings: 0,
    ping() {
      this.pings++;
      atOnce++;
    },
  }));
  const timer = startPings(sessions, 15_000);
  let most = 0;
  for (let ms = 0; ms < 30_000; ms += 10) {
    atOnce = 0;
    vi.advanceTimersByTime(10);
    most = Math.max(most, atOnce);
  }
  clearInterval(timer);
  expect(new Set(sessions.map(({ pings }) => pings))).toEqual(new Set([2]));
  expect(most).toBeLessThan(20);
});

test('where pings are frequent, everybody is pinged in every turn', () => {
  const ping = vi.fn<() => void>();
  const timer = startPings(
    [
      { connection: 7, ping },
      { connection: 8, ping },
    ],
    100,
  );
  vi.advanceTimersByTime(300);
  clearInterval(timer);
  expect(ping).toHaveBeenCalledTimes(6);
});
