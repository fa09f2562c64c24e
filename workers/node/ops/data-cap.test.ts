/** Caps on data: what is counted, that a restart, a new day and a clock that is set back are told apart, and that it leaves the network. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../../runtime/ports.ts';
import { dividedCaps, followDataCaps, parseDataMax, TrafficBook, trafficOf } from './data-cap.ts';
import { createGate } from './gate.ts';
import { FakeClock, FakeControl, idleView } from './testing/fake-control.ts';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const MB = 1e6;
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(path.join(tmpdir(), 'atoll-cap-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('--data-max', () => {
  it('reads sizes and spans, and refuses others', () => {
    expect(parseDataMax('5GB/day')).toEqual({ day: 5e9 });
    expect(parseDataMax('1.5 GiB/day, 100GB/month')).toEqual({ day: 1.5 * 2 ** 30, month: 1e11 });
    expect(parseDataMax('2000000/day')).toEqual({ day: 2e6 });
    for (const text of ['', '5GB', '5GB/week', '1kB/day', '5GB/day,6GB/day', '-5GB/day', '5XB/day']) {
      expect(() => parseDataMax(text), text).toThrow(/--data-max takes/);
    }
    expect(parseDataMax(dividedCaps({ day: 8e9, month: 9e10 }, 4))).toEqual({ day: 2e9, month: 2.25e10 });
  });

  it('counts every byte once: frames, blocks, and what peers give and get', () => {
    const swarm = { state: 'on' as const, direct: 1, relayed: 0, failed: 0 };
    expect(trafficOf({ ...idleView, bytesDown: 100, bytesUp: 10, blockBytesDown: 60 })).toBe(110);
    const view = { ...idleView, bytesDown: 100, bytesUp: 10, blockBytesDown: 60 };
    // 40 in frames; 500 of blocks, of which 60 were asked for by a unit; 10 and 7 up.
    expect(
      trafficOf({ ...view, swarm: { ...swarm, peerBytes: 300, originBytes: 200, servedBytes: 7 } }),
    ).toBe(557);
  });

  it('begins anew with the day and the month, never because a clock was set back', () => {
    const book = new TrafficBook(null, new Date('2026-11-30T12:00:00'));
    book.add(5, new Date('2026-11-30T23:00:00'));
    expect(book.reached({ day: 5 })).toBe('day');
    book.add(0, new Date('2026-11-29T23:00:00'));
    expect(book.reached({ day: 5, month: 6 })).toBe('day');
    book.add(1, new Date('2026-12-01T00:00:00'));
    expect(book.reached({ day: 5, month: 2 })).toBeNull();
    expect(book.reached({ day: 1, month: 1 })).toBe('month');
  });

  async function follow(wall: () => Date, file = path.join(dir, 'node.traffic.json')) {
    const control = new FakeControl();
    const clock = new FakeClock();
    const gate = await createGate(control, clock);
    const end = await followDataCaps(gate, control, { day: 10 * MB }, { file, clock, now: wall, log: quiet });
    return { control, clock, gate, end, file };
  }

  it('leaves the network at the cap, stays away over a restart, and comes back the next day', async () => {
    let wall = new Date('2026-11-22T12:00:00');
    const first = await follow(() => wall);
    first.control.show({ bytesDown: 6 * MB });
    await first.end();
    expect((await stat(first.file)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(first.file, 'utf8'))).toMatchObject({
      day: { key: '2026-11-22', bytes: 6 * MB },
    });

    const { control, clock, gate, end } = await follow(() => wall);
    expect(control.calls).toEqual([]);
    control.show({ bytesUp: 4 * MB });
    expect(control.calls).toEqual(['pause', 'stop']);
    expect(gate.held.get('data')).toMatch(/next day/);
    wall = new Date('2026-11-23T00:00:01');
    clock.pass(15_000);
    expect(control.calls).toEqual(['pause', 'stop', 'start']);
    await end();
  });

  it('does not begin where the counts cannot be kept or read', async () => {
    const wall = () => new Date();
    await writeFile(path.join(dir, 'file'), '');
    await expect(follow(wall, path.join(dir, 'file', 'book.json'))).rejects.toMatchObject({
      code: 'bad_config',
    });
    await writeFile(path.join(dir, 'damaged.json'), '{"day":');
    await expect(follow(wall, path.join(dir, 'damaged.json'))).rejects.toThrow(/damaged.*--data-max/);
  });
});
