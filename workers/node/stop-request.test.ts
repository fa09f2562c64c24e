/** Requests to stop: the first begins a drain, the shortest time wins, and only a signal that comes later than an echo stops at once. */
import { describe, expect, it } from 'vitest';
import { stopRequest } from './stop-request.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };

function rig() {
  const at = { ms: 0 };
  const exits: number[] = [];
  const request = stopRequest({ now: () => at.ms, log, exit: (code) => exits.push(code) }, 30_000);
  return { at, exits, request };
}

describe('a request to stop', () => {
  it('takes the echo of a signal as the same one, and a later one as the second', async () => {
    const { at, exits, request } = rig();
    request.signal('SIGINT');
    expect(await request.asked).toBe('SIGINT');
    at.ms = 900;
    request.signal('SIGTERM');
    expect(exits).toEqual([]);
    at.ms = 1_100;
    request.signal('SIGTERM');
    expect(exits).toEqual([130]);
  });

  it('a signal shortens what the control socket began, and does not stop at once', () => {
    const { at, exits, request } = rig();
    request.ask('drain', 3_600_000);
    expect(request.allowedMs()).toBe(3_600_000);
    at.ms = 5_000;
    request.signal('SIGTERM');
    expect(request.allowedMs()).toBe(35_000);
    request.ask('drain', 3_600_000);
    expect(request.allowedMs()).toBe(35_000);
    expect(exits).toEqual([]);
  });
});
