/**
 * What the exchange does about peers that cheat. Every test is run with the defence and without it: the second run shows what the defence is for, and that the
 * test would notice its absence.
 */
import { describe, expect, it } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { contributorOf, kib, MachineRig, manifest, mib } from '../testing/machine-rig.ts';
import { type Defences, defaultOptions, type ExchangeOptions } from './events.ts';

const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** A machine that wants the file and waits for peers. */
function seeker(
  file = manifest(4),
  defences: Partial<Defences> = {},
  options: Partial<ExchangeOptions> = {},
): MachineRig {
  const rig = new MachineRig(options, defences);
  rig.feed({ t: 'expect', ms: 60_000 });
  rig.feed({ t: 'want', file });
  return rig;
}

const served = (rig: MachineRig) =>
  rig.machine
    .stats()
    .peers.filter(({ isServed }) => isServed)
    .map(({ link }) => link);

describe('a peer that sends a bad block', () => {
  const meet = (defences: Partial<Defences>) => {
    const file = manifest(2);
    const rig = seeker(file, defences);
    rig.peer(1, file, [0, 1]);
    rig.peer(2, file, [0, 1], { serves: false });
    rig.block(1, file, rig.sent(1, 'req')[0]?.index as number, false);
    return { rig, file };
  };

  it('is dropped and reported, and its blocks are asked of others', () => {
    const { rig, file } = meet({});
    expect(rig.dropped(1)).toBe('bad-block');
    expect(rig.of('report')).toMatchObject([{ contributor: contributorOf(1), reason: 'bad-block' }]);
    expect(rig.machine.stats()).toMatchObject({ blocksRefused: 1, missing: 2 });
    rig.frame(2, { t: 'unchoke' });
    expect(rig.sent(2, 'req')[0]?.offset).toBe(0);
    expect(file.blocks.some((cid) => rig.machine.isHeld(cid))).toBe(false);
  });

  it('does not come back in this session under the same key', () => {
    const again = (defences: Partial<Defences>) => {
      const { rig, file } = meet(defences);
      rig.feed({ t: 'link', link: 9, contributor: contributorOf(1) });
      rig.bits(9, file, [0, 1]);
      rig.frame(9, { t: 'unchoke' });
      return rig.sent(9, 'req').length;
    };
    expect(again({})).toBe(0);
    expect(again({ bans: false })).toBeGreaterThan(0);
  });

  it('is reported even when it has left before the hash was computed', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    for (let at = 0; at < 256 * kib; at += 52_429) rig.part(1, file, 0, at);
    rig.feed({ t: 'unlink', link: 1 });
    rig.feed({ t: 'checked', download: rig.of('check')[0]?.download as number, ok: false });
    expect(rig.of('report')).toMatchObject([{ contributor: contributorOf(1), reason: 'bad-block' }]);
    expect(rig.machine.missing).toBe(1);
  });

  it('or says that a block has another size than the file says', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    rig.frame(1, { t: 'blk', file: 'f', index: 0, offset: 0, size: 1_000, bytes: new Uint8Array(1_000) });
    expect(rig.dropped(1)).toBe('bad-block');
  });
});

describe('a flood', () => {
  it('of bytes that nobody asked for ends the link', () => {
    const push = (defences: Partial<Defences>) => {
      const file = manifest(4);
      const rig = seeker(file, defences);
      rig.peer(1, file, [0], { serves: false });
      rig.part(1, file, 2, 0);
      return rig.dropped(1);
    };
    expect(push({})).toBe('flood');
    expect(push({ flood: false })).toBeUndefined();
  });

  it('of bytes beyond what was asked for is not kept either', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    rig.part(1, file, 0, 0);
    rig.part(1, file, 0, 0);
    expect(rig.dropped(1)).toBe('flood');
    expect(rig.of('put')).toHaveLength(1);
  });

  it('of requests ends the link, and is never queued', () => {
    const push = (defences: Partial<Defences>) => {
      const file = manifest(40);
      const rig = new MachineRig({}, defences);
      rig.feed({ t: 'hold', file });
      rig.peer(1, file, []);
      rig.frame(1, { t: 'need', needs: true });
      for (let index = 0; index < 40; index++) {
        rig.frame(1, { t: 'req', file: 'f', index, offset: 0, length: 256 * kib });
      }
      return { reason: rig.dropped(1), queued: rig.of('open').length };
    };
    expect(push({})).toEqual({ reason: 'flood', queued: 5 });
    expect(push({ flood: false })).toEqual({ reason: undefined, queued: 5 });
  });

  it('of messages ends the link', () => {
    const push = (defences: Partial<Defences>) => {
      const rig = seeker(manifest(4), defences);
      rig.peer(1, manifest(4), []);
      for (let i = 0; i < limits.shardFrameBurstMax + 10; i++)
        rig.frame(1, { t: 'need', needs: i % 2 === 0 });
      return rig.dropped(1);
    };
    expect(push({})).toBe('flood');
    expect(push({ flood: false })).toBeUndefined();
  });

  it('is not what an honest peer had on its way when its request was taken back', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    rig.part(1, file, 0, 0);
    rig.feed({ t: 'unwant', cids: ['f-0'] });
    for (let at = 52_429; at < 256 * kib; at += 52_429) rig.part(1, file, 0, at);
    expect(rig.dropped(1)).toBeUndefined();
    rig.part(1, file, 0, 0);
    expect(rig.dropped(1)).toBe('flood');
  });

  it('of nonsense ends the link', () => {
    const file = manifest(4);
    const rig = seeker(file);
    rig.peer(1, file, []);
    rig.feed({ t: 'garbage', link: 1 });
    rig.peer(2, file, []);
    rig.frame(2, { t: 'bits', file: 'f', ask: false, count: 5, bits: Uint8Array.of(0) });
    rig.peer(3, file, []);
    rig.frame(3, { t: 'have', file: 'f', indices: [4] });
    expect([1, 2, 3].map((link) => rig.dropped(link))).toEqual(['bad-frame', 'bad-frame', 'bad-frame']);
  });
});

describe('a peer that stalls', () => {
  it('is dropped and reported, and costs a few seconds at most', () => {
    const meet = (defences: Partial<Defences>) => {
      const file = manifest(8);
      const rig = seeker(file, defences);
      rig.peer(1, file, range(8));
      rig.peer(2, file, range(8));
      rig.pass(3_000);
      rig.part(2, file, rig.sent(2, 'req')[0]?.index as number, 0);
      rig.pass(2_500);
      return { rig, reason: rig.dropped(1) };
    };
    const { rig, reason } = meet({});
    expect(reason).toBe('stall');
    expect(rig.of('report')).toMatchObject([{ reason: 'stall' }]);
    // Where nothing comes from anybody, the fault may be on this side: nobody is blamed.
    const alone = seeker();
    alone.peer(1, manifest(4), range(4));
    alone.pass(6_000);
    expect([alone.dropped(1), alone.of('report')]).toEqual(['stall', []]);
    // It may only have lost its network, so it may come back.
    rig.peer(9, manifest(8), []);
    expect(rig.dropped(9)).toBeUndefined();
    expect(meet({ stall: false }).reason).toBeUndefined();
  });

  it('is not one that is slow', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    for (let at = 0; at < 200 * kib; at += 10 * kib) {
      rig.pass(4_000);
      rig.part(1, file, 0, at, 10 * kib);
    }
    expect(rig.dropped(1)).toBeUndefined();
  });

  it('does not keep blocks from others for long', () => {
    const file = manifest(1);
    const rig = seeker(file);
    rig.peer(1, file, [0]);
    rig.peer(2, file, [0]);
    rig.pass(1_700);
    expect(rig.sent(2, 'req')[0]).toMatchObject({ index: 0, offset: 0 });
  });
});

describe('a peer that says it has what it has not', () => {
  it('is dropped and reported after a few such answers', () => {
    const meet = (defences: Partial<Defences>) => {
      const file = manifest(4, 64 * kib);
      const rig = seeker(file, defences);
      rig.peer(1, file, range(4));
      for (const { index } of rig.sent(1, 'req'))
        rig.frame(1, { t: 'no', file: 'f', index, reason: 'unknown' });
      return rig;
    };
    const rig = meet({});
    expect(rig.dropped(1)).toBe('false-have');
    expect(rig.of('report')).toMatchObject([{ reason: 'false-have' }]);
    expect(meet({ falseHave: false }).dropped(1)).toBeUndefined();
  });

  it('is not one whose cache let blocks go and who said so', () => {
    const file = manifest(4);
    const rig = seeker(file);
    rig.peer(1, file, range(4));
    rig.frame(1, { t: 'gone', file: 'f', indices: range(4) });
    for (const index of range(4)) rig.frame(1, { t: 'no', file: 'f', index, reason: 'unknown' });
    expect(rig.dropped(1)).toBeUndefined();
  });

  it('cannot keep everybody from the origin by never serving', () => {
    const file = manifest(1);
    const rig = new MachineRig();
    rig.peer(1, file, []);
    rig.feed({ t: 'want', file });
    rig.bits(1, file, [0]);
    rig.pass(4_800);
    expect(rig.of('origin')).toHaveLength(0);
    rig.pass(400);
    expect(rig.of('origin')).toHaveLength(1);
  });
});

describe('a peer that says it is fetching what it never fetches', () => {
  /** Milliseconds until the origin was asked, by somebody whose neighbour renews its word every second. */
  const waitWith = (defences: Partial<Defences>) => {
    const file = manifest(1);
    const rig = new MachineRig({}, defences);
    rig.peer(1, file, []);
    rig.feed({ t: 'want', file });
    for (let ms = 0; ms < 60_000; ms += 1_000) {
      rig.frame(1, { t: 'pend', file: 'f', indices: [0] });
      if (ms === 0) rig.bits(1, file, []);
      rig.pass(1_000);
      if (rig.of('origin').length > 0) return ms;
    }
    return Infinity;
  };

  it('is believed for a while, a few times', () => {
    // Told anew in the moment when it has run out, it counts up to three times.
    expect(waitWith({})).toBeLessThanOrEqual(3 * limits.shardPendMsMax + 3_000);
    expect(waitWith({ pendLimits: false })).toBe(Infinity);
  });
});

describe('tit for tat', () => {
  /** Three that give and two that only take, all wanting what we have, over a busy uplink of 1 MiB/s for two minutes: what each was given, MiB. */
  const share = (defences: Partial<Defences>) => {
    const file = manifest(800);
    const rig = new MachineRig({ slotsMin: 3, slotsMax: 3, upBytesPerSecond: mib }, defences);
    rig.feed({ t: 'hold', file, indices: range(400) });
    rig.feed({ t: 'expect', ms: 1e9 });
    rig.feed({ t: 'want', file });
    const peers = [1, 2, 3, 4, 5].map((link) => ({
      link,
      gives: link <= 3,
      got: 0,
      next: 0,
      queue: [] as Request[],
    }));
    for (const { link, gives } of peers) {
      rig.peer(link, file, range(800).slice(400), { serves: gives });
      rig.frame(link, { t: 'need', needs: true });
    }
    for (let at = 0; at < 120_000; at += 100) {
      for (const peer of peers) give(rig, peer);
      for (const peer of peers) take(rig, peer);
      rig.pass(100);
      deliver(rig, peers);
    }
    return peers.map(({ got }) => got / mib);
  };

  type Request = { index: number; offset: number; length: number };
  type Peer = { link: number; gives: boolean; got: number; next: number; queue: Request[] };

  /** 200 KiB/s of what it was asked for. */
  function give(rig: MachineRig, { link, gives, queue }: Peer): void {
    const head = queue[0];
    if (!gives || !head) return;
    const bytes = new Uint8Array(Math.min(20 * kib, head.length));
    rig.frame(link, { t: 'blk', file: 'f', index: head.index, offset: head.offset, size: 256 * kib, bytes });
    head.offset += bytes.length;
    head.length -= bytes.length;
    if (head.length === 0) queue.shift();
  }

  /** As many requests as it may have open while it is served. */
  function take(rig: MachineRig, peer: Peer): void {
    while (served(rig).includes(peer.link) && 256 * kib * peer.next < peer.got + mib && peer.next < 400) {
      rig.frame(peer.link, { t: 'req', file: 'f', index: peer.next++, offset: 0, length: 256 * kib });
    }
  }

  function deliver(rig: MachineRig, peers: Peer[]): void {
    while (rig.effects.length > 0) {
      for (const effect of rig.effects.splice(0)) {
        const peer = 'link' in effect ? peers.find(({ link }) => link === effect.link) : undefined;
        if (effect.t === 'open') rig.feed({ t: 'opened', cid: effect.cid, size: 256 * kib });
        if (effect.t === 'check') rig.feed({ t: 'checked', download: effect.download, ok: true });
        if (peer && effect.t === 'part') {
          peer.got += effect.length;
          rig.feed({ t: 'room', link: peer.link });
        }
        if (peer && effect.t === 'send' && effect.frame.t === 'req') peer.queue.push({ ...effect.frame });
        // What was refused is asked again later.
        if (peer && effect.t === 'send' && effect.frame.t === 'no')
          peer.next = Math.ceil(peer.got / (256 * kib));
      }
    }
  }

  it('starves who only takes', () => {
    const parts = (shares: number[]) => {
      const [a = 0, b = 0, c = 0, d = 0, e = 0] = shares;
      return (d + e) / (a + b + c + d + e);
    };
    const [on, off] = [parts(share({})), parts(share({ titForTat: false }))];
    expect(on).toBeLessThan(0.05);
    expect(off).toBeGreaterThan(0.1);
  });

  it('lets a newcomer in that has nothing to give yet', () => {
    const file = manifest(400);
    const rig = new MachineRig({ slotsMin: 3, slotsMax: 3 });
    rig.feed({ t: 'hold', file, indices: range(200) });
    rig.feed({ t: 'expect', ms: 1e9 });
    rig.feed({ t: 'want', file });
    for (let link = 1; link <= 6; link++) {
      rig.peer(link, file, range(400).slice(200));
      rig.frame(link, { t: 'need', needs: true });
    }
    rig.pass(20_000);
    rig.peer(7, file, []);
    rig.frame(7, { t: 'need', needs: true });
    let waitedMs = 0;
    for (; waitedMs < 120_000 && !served(rig).includes(7); waitedMs += 2_000) {
      for (let link = 1; link <= 6; link++) {
        const head = rig.sent(link, 'req').at(-1);
        if (head) rig.frame(link, { t: 'no', file: 'f', index: head.index, reason: 'choked' });
      }
      rig.pass(2_000);
    }
    expect(waitedMs).toBeLessThan(60_000);
  });

  it('gives who only takes what is left when nobody else wants anything', () => {
    const rig = new MachineRig();
    const file = manifest(4);
    rig.feed({ t: 'hold', file });
    rig.peer(1, file, [], { serves: false });
    rig.frame(1, { t: 'need', needs: true });
    for (let i = 0; i < 120; i++) {
      rig.frame(1, { t: 'req', file: 'f', index: i % 4, offset: 0, length: 256 * kib });
      rig.drain();
      rig.pass(200);
    }
    expect(rig.machine.stats().upBytes).toBeGreaterThan(2 * defaultOptions.graceBytes);
  });
});

describe('one contributor', () => {
  it('has one link: the newer one', () => {
    const rig = seeker();
    rig.feed({ t: 'link', link: 1, contributor: contributorOf(5) });
    rig.feed({ t: 'link', link: 2, contributor: contributorOf(5) });
    expect(rig.dropped(1)).toBe('replaced');
    expect(rig.dropped(2)).toBeUndefined();
    expect(rig.of('report')).toHaveLength(0);
  });
});
