/** The graph of neighbours under any sequence of events: symmetric, bounded, connected; and each rule of choice by itself. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { type Announced, degreeAim, degreeMax, type Standing, Tracker } from './tracker.ts';

const minute = 60_000;
const day = 24 * 60 * minute;
const cid = (n: number) => cidOfSync(Uint8Array.of(n), rawCode);
const address = (n: number): Hex => `0x${n.toString(16).padStart(40, '0')}`;
const name = (n: number) => `peer-${String(n).padStart(4, '0')}`;

function announced(n: number, more: Partial<Announced> = {}): Announced {
  const contributor = more.contributor ?? address(n);
  return { peer: name(n), contributor, owner: contributor, region: '', addresses: [], expires: day, ...more };
}

function standing(more: Partial<Standing> = {}): Standing {
  return { holds: [], wants: [], direct: 0, relayed: 0, failed: [], ...more };
}

/** Numbers in [0, 1) from a seed. */
function dice(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function network(size: number, region: (n: number) => string = () => ''): Tracker {
  const tracker = new Tracker(dice());
  for (let n = 0; n < size; n++) tracker.announce(announced(n, { region: region(n) }), n);
  return tracker;
}

const neighbours = (tracker: Tracker, n: number): string[] =>
  [...(tracker.member(name(n))?.neighbours ?? [])].map(({ peer }) => peer).toSorted();

function reachable(tracker: Tracker, from: string): number {
  const seen = new Set([from]);
  const queue = [from];
  for (let peer = queue.pop(); peer !== undefined; peer = queue.pop()) {
    for (const { peer: next } of tracker.member(peer)?.neighbours ?? []) {
      if (seen.has(next)) continue;
      seen.add(next);
      queue.push(next);
    }
  }
  return seen.size;
}

describe('the tracker', () => {
  it('gives six to eight neighbours each, in one connected graph', () => {
    const tracker = network(300);
    for (let n = 0; n < 300; n++) {
      expect(neighbours(tracker, n).length).toBeGreaterThanOrEqual(degreeAim);
      expect(neighbours(tracker, n).length).toBeLessThanOrEqual(degreeMax);
    }
    expect(reachable(tracker, name(0))).toBe(300);
  });

  it('keeps edges on both sides and degrees bounded under any sequence of events', () => {
    const n = fc.integer({ min: 0, max: 19 });
    const roots = fc.array(n.map(cid), { maxLength: 3 });
    const event = fc.oneof(
      fc.record({ kind: fc.constant('announce' as const), n, region: fc.constantFrom('', 'a', 'b') }),
      fc.record({ kind: fc.constant('leave' as const), n }),
      fc.record({ kind: fc.constant('expel' as const), n }),
      fc.record({ kind: fc.constant('complain' as const), n, about: n }),
      fc.record({
        kind: fc.constant('stand' as const),
        n,
        holds: roots,
        wants: roots,
        failed: fc.array(n.map(name), { maxLength: 3 }),
      }),
      fc.record({ kind: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 2 * minute }) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), (events) => {
        const tracker = new Tracker(dice());
        const told = new Map<string, string[]>();
        let now = 0;
        for (const e of events) {
          if (e.kind === 'announce') tracker.announce(announced(e.n, { region: e.region }), now);
          else if (e.kind === 'leave') tracker.leave(name(e.n), now);
          else if (e.kind === 'expel') tracker.expel(address(e.n), now);
          else if (e.kind === 'complain') tracker.complain(name(e.n), name(e.about), now);
          else if (e.kind === 'stand') tracker.stand(name(e.n), standing(e), now);
          else tracker.tick((now += e.ms));
          for (const { to, peers } of tracker.take())
            told.set(
              to.peer,
              peers.map(({ peer }) => peer),
            );
          for (let i = 0; i < 20; i++) {
            const member = tracker.member(name(i));
            if (!member) continue;
            expect(member.neighbours.size).toBeLessThanOrEqual(degreeMax);
            for (const other of member.neighbours) {
              expect(other).not.toBe(member);
              expect(other.neighbours.has(member)).toBe(true);
              expect(tracker.member(other.peer)).toBe(other);
            }
            // What each was told last is what is so.
            expect(told.get(name(i))?.toSorted()).toEqual(neighbours(tracker, i));
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('has exactly one side of each edge dial', () => {
    const tracker = network(20);
    const dials = new Map<string, boolean>();
    for (const { to, peers } of tracker.take()) {
      for (const { peer, dial } of peers) dials.set(`${to.peer}>${peer}`, dial);
    }
    expect(dials.size).toBeGreaterThan(100);
    for (const [edge, dial] of dials) {
      const [from, to] = edge.split('>');
      expect(dials.get(`${to}>${from}`)).toBe(!dial);
    }
  });

  it('repairs the neighbours of who leaves, at once', () => {
    const tracker = network(100);
    for (let n = 0; n < 50; n++) tracker.leave(name(n), minute);
    expect(tracker.size).toBe(50);
    for (let n = 50; n < 100; n++) expect(neighbours(tracker, n).length).toBeGreaterThanOrEqual(degreeAim);
    expect(reachable(tracker, name(99))).toBe(50);
  });

  it('brings those who want something to those who hold it', () => {
    const tracker = network(200);
    for (const n of [7, 8, 9]) tracker.stand(name(n), standing({ holds: [cid(1)] }), minute);
    for (let n = 100; n < 110; n++) tracker.stand(name(n), standing({ wants: [cid(1)] }), minute);
    for (let n = 100; n < 110; n++) {
      expect(neighbours(tracker, n).filter((peer) => [name(7), name(8), name(9)].includes(peer))).not.toEqual(
        [],
      );
    }
  });

  it('prefers the same region, and has others too', () => {
    const tracker = network(120, (n) => (n % 4 === 0 ? 'here' : `elsewhere ${n % 40}`));
    const near = (n: number) =>
      neighbours(tracker, n).filter((peer) => Number(peer.slice(5)) % 4 === 0).length;
    const late = Array.from({ length: 20 }, (_, i) => 4 * i + 40);
    const share =
      late.reduce((sum, n) => sum + near(n), 0) /
      late.reduce((sum, n) => sum + neighbours(tracker, n).length, 0);
    expect(share).toBeGreaterThan(0.3); // a quarter are of it
    for (const n of late) expect(near(n)).toBeLessThan(neighbours(tracker, n).length);
  });

  it('replaces a neighbour that could not be reached, and does not give it again soon', () => {
    const tracker = network(30);
    const [lost = ''] = neighbours(tracker, 3);
    tracker.stand(name(3), standing({ failed: [lost] }), minute);
    expect(neighbours(tracker, 3)).not.toContain(lost);
    expect(neighbours(tracker, 3).length).toBeGreaterThanOrEqual(degreeAim);
    for (let n = 0; n < 30; n++) if (name(n) !== lost && n !== 3) tracker.leave(name(n), minute);
    expect(neighbours(tracker, 3)).toEqual([]);
    tracker.tick(3 * minute);
    expect(neighbours(tracker, 3)).toEqual([lost]);
  });

  it('lets nobody remove a peer by a complaint: the two are parted, that is all', () => {
    const tracker = network(40);
    const [about = ''] = neighbours(tracker, 5);
    expect(tracker.complain(name(5), about, minute)).toBe(true);
    expect(neighbours(tracker, 5)).not.toContain(about);
    expect(tracker.member(about)?.neighbours.size).toBeGreaterThanOrEqual(degreeAim);
    // A stranger's complaint is nothing, and one owner with many peers has one voice.
    expect(tracker.complain(name(5), about, minute)).toBe(false);
  });

  it('rests a peer when most of its neighbours complain, for a while', () => {
    const tracker = network(40);
    const bad = tracker.member(name(9));
    for (let round = 0; round < 12 && bad && bad.restsUntil < 0; round++) {
      const [neighbour] = [...bad.neighbours];
      if (neighbour) tracker.complain(neighbour.peer, name(9), minute + round);
    }
    expect(bad?.neighbours.size).toBe(0);
    expect(bad?.complaints.size).toBeLessThanOrEqual(degreeMax + 2);
    tracker.tick(2 * minute);
    expect(bad?.neighbours.size).toBe(0);
    tracker.tick(30 * minute);
    expect(bad?.neighbours.size).toBeGreaterThan(0);
  });

  it('counts the complaints of one owner once, and only a few a minute', () => {
    const tracker = new Tracker(dice());
    tracker.announce(announced(0), 0);
    for (let n = 1; n <= 6; n++) tracker.announce(announced(n, { owner: address(99) }), 0);
    for (let n = 1; n <= 6; n++) tracker.complain(name(n), name(0), minute);
    expect(tracker.member(name(0))?.complaints.size).toBe(1);
    expect(tracker.member(name(0))?.restsUntil).toBe(-Infinity);
    const busy = network(60);
    let counted = 0;
    for (let i = 0; i < 30; i++) {
      const [about = ''] = neighbours(busy, 4);
      if (busy.complain(name(4), about, minute)) counted++;
    }
    expect(counted).toBe(6);
  });

  it('has nobody whose record ended, and nobody who was expelled', () => {
    const tracker = network(12);
    tracker.announce(announced(50, { expires: minute }), 0);
    tracker.tick(minute);
    expect(tracker.member(name(50))).toBeUndefined();
    tracker.expel(address(3), minute);
    expect(tracker.member(name(3))).toBeUndefined();
    for (let n = 0; n < 12; n++) expect(neighbours(tracker, n)).not.toContain(name(3));
  });

  it('gives one contributor four peers at most, and nobody the id of another', () => {
    const tracker = new Tracker(dice());
    for (let n = 0; n < 9; n++) tracker.announce(announced(n, { contributor: address(1) }), n);
    expect(tracker.size).toBe(4);
    expect(tracker.member(name(8))).toBeDefined();
    tracker.announce(announced(8, { contributor: address(2), addresses: ['/evil'] }), 20);
    expect(tracker.member(name(8))?.contributor).toBe(address(1));
  });

  it('sums up how peers are reached', () => {
    const tracker = network(3);
    tracker.stand(name(0), standing({ direct: 1, relayed: 1 }), 1);
    tracker.stand(name(1), standing({ direct: 2 }), 1);
    tracker.stand(name(2), standing({ failed: [name(0)] }), 1);
    expect(tracker.counts()).toEqual({ peers: 3, direct: 3, relayed: 1, failed: 1 });
    expect(tracker.counts(address(2))).toEqual({ peers: 1, direct: 0, relayed: 0, failed: 1 });
  });
});
