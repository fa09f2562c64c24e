/**
 * Small swarms on the real exchange, tracker and leases: fast enough, thin at the origin, and unimpressed by those who lie or only take. The swarm of 500 runs in
 * `npm run bench -- p2p` and `npm run sim -- --swarm`.
 */
import { describe, expect, it } from 'vitest';
import { fluidBounds } from './fluid.ts';
import { simulateSwarm } from './swarm.ts';

const small = { peers: 40, fileBytes: 16 << 20 };
const mbps = 1e6 / 8;

describe('a simulated swarm', () => {
  it('has everything soon after the fluid model would, while half leave', () => {
    const report = simulateSwarm(small);
    expect(report).toMatchObject({ done: 20, honest: 20, honestReported: 0 });
    expect(report.ratio).toBeGreaterThanOrEqual(1);
    expect(report.ratio).toBeLessThan(1.6);
    // Nothing is fetched twice, but for the odd block that two were asked for.
    expect(report.received).toBeLessThan(1.03);
    expect(report.originCopies).toBeLessThan(2.5);
  });

  it('replays from its seed', () => {
    const options = { ...small, peers: 16, fileBytes: 4 << 20 };
    expect(simulateSwarm({ ...options, seed: 7 })).toEqual(simulateSwarm({ ...options, seed: 7 }));
    expect(simulateSwarm({ ...options, seed: 8 })).not.toEqual(simulateSwarm({ ...options, seed: 7 }));
  });

  it('finds every liar, blames nobody else, and is done all the same', () => {
    const report = simulateSwarm({ ...small, liars: 0.1, slow: 0.2 });
    expect(report).toMatchObject({ done: report.honest, liars: 4, liarsBanned: 4, honestReported: 0 });
  });

  it('starves who only takes, and not who comes late with nothing', () => {
    const options = { peers: 40, fileBytes: 32 << 20, leeches: 0.2, leaving: 0, newcomerMs: 20_000 };
    const fair = simulateSwarm(options);
    const naive = simulateSwarm({ ...options, defences: { titForTat: false } });
    expect(fair.done).toBe(fair.honest);
    expect(naive.leechShare).toBeGreaterThan(2 * fair.leechShare);
    expect(fair.newcomerSeconds).toBeLessThan(fair.seconds95);
  });
});

describe('the fluid bounds', () => {
  const peer = { up: 5 * mbps, down: 25 * mbps, joinsMs: 0, leavesMs: Infinity, takes: true, counts: true };

  it('are those of Kumar and Ross where nobody leaves', () => {
    const peers = Array.from({ length: 100 }, () => peer);
    const bounds = fluidBounds(peers, 64 << 20, 50 * mbps, 1);
    const expected = (100 * 64 * 2 ** 20 * 8) / 550e6;
    expect(bounds.stillMs / 1000).toBeCloseTo(expected, 3);
    expect(bounds.equalMs / 1000).toBeCloseTo(expected, 0);
    expect(bounds.strictMs).toBe(bounds.equalMs);
  });

  it('never fall below what the origin or a downlink allows', () => {
    expect(fluidBounds([peer], 64 << 20, 5 * mbps, 1).equalMs / 1000).toBeCloseTo(
      (64 * 2 ** 20 * 8) / 5e6,
      1,
    );
    expect(fluidBounds([peer], 64 << 20, 500 * mbps, 1).equalMs / 1000).toBeCloseTo(
      (64 * 2 ** 20 * 8) / 25e6,
      1,
    );
  });

  it('are lower when leavers are thought to take nothing', () => {
    const leaver = { ...peer, leavesMs: 30_000, counts: false };
    const peers = [...Array.from({ length: 50 }, () => peer), ...Array.from({ length: 50 }, () => leaver)];
    const bounds = fluidBounds(peers, 64 << 20, 50 * mbps, 0.95);
    expect(bounds.strictMs).toBeLessThan(bounds.equalMs);
  });
});
