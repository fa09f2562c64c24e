/** The update check: once a day, only words, and silence about everything that goes wrong. */
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../runtime/ports.ts';
import { FakeClock } from './testing/fake-control.ts';
import { announcedVersion, isNewer, watchForUpdates } from './update-check.ts';

describe('versions', () => {
  it.each([
    ['0.2.0', '0.1.0', true],
    ['0.1.10', '0.1.9', true],
    ['1.0.0', '1.0.0-rc.1', true],
    ['0.1.0', '0.1.0', false],
    ['0.1.0', '0.2.0', false],
    ['1.0.0-rc.2', '1.0.0', false],
  ])('%s after %s: %s', (theirs, ours, expected) => expect(isNewer(theirs, ours)).toBe(expected));
});

describe('the announced version', () => {
  const ask = (fetch: () => Promise<Response>) =>
    announcedVersion({ url: 'http://127.0.0.1:1', fetch }, new AbortController().signal);

  it('is what the coordinator says of itself', async () => {
    expect(await ask(async () => Response.json({ version: '0.3.0', network: '0x' }))).toBe('0.3.0');
  });

  it.each<[string, () => Promise<Response>]>([
    ['an error', async () => new Response('', { status: 500 })],
    ['no JSON', async () => new Response('<html>')],
    ['no version', async () => Response.json({ version: '\u001b[31m9.9.9' })],
    ['too much', async () => new Response(`${' '.repeat(1 << 20)}{"version":"9.9.9"}`)],
    ['nobody', async () => Promise.reject(new TypeError('fetch failed'))],
  ])('is not known from %s', async (_, fetch) => expect(await ask(fetch)).toBeNull());
});

describe('the daily look', () => {
  it('tells of each version once, and asks no more after its end', async () => {
    const clock = new FakeClock();
    const told: string[] = [];
    const log: Logger = { debug() {}, info() {}, warn: (_, message) => void told.push(message), error() {} };
    let [asked, version] = [0, '0.2.0'];
    const end = watchForUpdates({
      ...{ url: 'http://127.0.0.1:1', version: '0.1.0', clock, log },
      randomBytes: (count) => new Uint8Array(count).fill(128),
      fetch: async () => (asked++, Response.json({ version })),
    });
    const days = async (count: number) => {
      for (let i = 0; i < count * 24; i++) {
        clock.pass(60 * 60_000);
        await new Promise(setImmediate);
      }
    };
    expect(asked).toBe(0); // nothing waits for it
    await days(3);
    expect([asked, told.length]).toEqual([3, 1]);
    expect(told[0]).toMatch(/version 0\.2\.0, this node 0\.1\.0/);
    version = '0.3.0';
    await days(2);
    expect(told).toHaveLength(2);
    end();
    await days(3);
    expect(asked).toBeLessThanOrEqual(6);
  });
});
