/**
 * What every transport must do, and what the exchange must do over every transport: run over memory by memory-transport.test.ts, and over real WebRTC where
 * there is one. A factory makes peers that can reach each other; the suite never looks at what they are.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { type Cid, cidOfBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { MemoryBlockCache } from '../../runtime/block-cache.ts';
import type { BlockSource, Clock } from '../../runtime/ports.ts';
import { until } from '../../runtime/testing/fake-clock.ts';
import type { Manifest } from '../exchange/events.ts';
import type { Link, LinkEnd, PeerAddress, PeerTransport } from '../ports.ts';
import { type ExchangePorts, ShardExchange } from '../shard-exchange.ts';

export interface TransportFactory {
  /** Started peers that can dial each other. */
  make(count: number): Promise<PeerTransport[]>;
  /** Ends all that `make` made. */
  end(): Promise<void>;
}

export const realClock: Clock = {
  now: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

const addressOf = ({ peer, addresses }: PeerTransport): PeerAddress => ({ peer, addresses });
const quietLog = { debug() {}, info() {}, warn() {}, error() {} };

/** All that a link delivered. */
class Heard {
  readonly frames: Uint8Array[] = [];
  drains = 0;
  end: LinkEnd | null = null;

  constructor(link: Link) {
    link.listen({
      frame: (bytes) => void this.frames.push(bytes),
      drain: () => void this.drains++,
      close: (reason) => {
        expect(this.end, 'a link ends once').toBeNull();
        this.end = reason;
      },
    });
  }
}

async function pair(factory: TransportFactory): Promise<{ a: Link; b: Link; peers: PeerTransport[] }> {
  const peers = await factory.make(2);
  const [first, second] = peers as [PeerTransport, PeerTransport];
  const accepted = new Promise<Link>((resolve) => second.onLink(resolve));
  const a = await first.dial(addressOf(second));
  return { a, b: await accepted, peers };
}

/** Registers the suite. */
export function transportCompliance(name: string, factory: TransportFactory): void {
  describe(`${name}: a transport`, () => {
    afterEach(() => factory.end());
    describeLinks(factory);
    describeDials(factory);
  });
  describe(`${name}: the exchange`, () => {
    afterEach(() => factory.end());
    describeExchange(factory);
  });
}

function describeLinks(factory: TransportFactory): void {
  it('carries frames whole, in order, both ways', async () => {
    const { a, b } = await pair(factory);
    const [atA, atB] = [new Heard(a), new Heard(b)];
    const sizes = [1, 2, 70_000, 3, limits.shardFrameBytesMax, 65_536, 1];
    for (const [i, size] of sizes.entries()) {
      a.send(new Uint8Array(size).fill(i + 1));
      b.send(new Uint8Array(size).fill(100 + i));
    }
    await until(() => atA.frames.length === sizes.length && atB.frames.length === sizes.length, 'all frames');
    expect(atB.frames.map((frame) => [frame.byteLength, frame[0], frame.at(-1)])).toEqual(
      sizes.map((size, i) => [size, i + 1, i + 1]),
    );
    expect(atA.frames.map((frame) => [frame.byteLength, frame[0]])).toEqual(
      sizes.map((size, i) => [size, 100 + i]),
    );
  });

  it('keeps what comes before anybody listens', async () => {
    const { a, b } = await pair(factory);
    for (let i = 1; i <= 5; i++) a.send(Uint8Array.of(i));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const heard = new Heard(b);
    expect(heard.frames).toHaveLength(0);
    await until(() => heard.frames.length === 5, 'the frames from before');
    expect(heard.frames.map(([first]) => first)).toEqual([1, 2, 3, 4, 5]);
  });

  it('says when there is no room, and when there is again', async () => {
    const { a, b } = await pair(factory);
    const [atA, atB] = [new Heard(a), new Heard(b)];
    let [sent, waits] = [0, 0];
    while (sent < 24) {
      const before = atA.drains;
      sent++;
      if (a.send(new Uint8Array(limits.blockBytesMax))) continue;
      waits++;
      await until(() => atA.drains > before, 'room');
    }
    await until(() => atB.frames.length === sent, 'all frames');
    expect(waits).toBeGreaterThan(0);
  });

  it('holds frames back while it is paused', async () => {
    const { a, b } = await pair(factory);
    const heard = new Heard(b);
    b.pause();
    a.send(Uint8Array.of(1));
    a.send(Uint8Array.of(2));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard.frames).toHaveLength(0);
    b.resume();
    await until(() => heard.frames.length === 2, 'both frames');
  });

  it('ends on both sides when one closes it', async () => {
    const { a, b } = await pair(factory);
    const [atA, atB] = [new Heard(a), new Heard(b)];
    a.close();
    a.close();
    await until(() => atA.end && atB.end, 'both ends');
    expect([atA.end, atB.end]).toEqual(['local', 'remote']);
    a.send(Uint8Array.of(1));
    expect(atB.frames).toHaveLength(0);
  });
}

function describeDials(factory: TransportFactory): void {
  it('gives one link to a peer however often it is dialled', async () => {
    const { a, peers } = await pair(factory);
    const [first, second] = peers as [PeerTransport, PeerTransport];
    expect(await first.dial(addressOf(second))).toBe(a);
    expect(a.peer).toBe(second.peer);
    expect([a.direction, a.state === 'direct' || a.state === 'relayed']).toEqual(['outbound', true]);
  });

  it('does not reach a peer that has stopped', async () => {
    const [first, second] = (await factory.make(2)) as [PeerTransport, PeerTransport];
    const address = addressOf(second);
    await second.stop();
    await expect(first.dial(address)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('gives a dial up when it is told to', async () => {
    const [first, second] = (await factory.make(2)) as [PeerTransport, PeerTransport];
    const signal = AbortSignal.abort(new AtollError('cancelled', 'No.'));
    await expect(first.dial(addressOf(second), signal)).rejects.toMatchObject({ code: 'cancelled' });
  });
}

/** An origin in memory that counts what it gives. */
export class CountingOrigin implements BlockSource {
  readonly blocks = new Map<Cid, Uint8Array>();
  given = 0;
  isOff = false;

  async fetch(cid: Cid): Promise<Uint8Array> {
    await new Promise((resolve) => setTimeout(resolve, 2));
    const bytes = this.blocks.get(cid);
    if (this.isOff) throw new AtollError('unavailable', 'The origin is off.');
    if (!bytes) throw new AtollError('not_found', 'The origin has no such block.');
    this.given++;
    return bytes;
  }
}

export async function makeFile(
  count: number,
  blockBytes: number,
): Promise<{ file: Manifest; blocks: Uint8Array[] }> {
  const blocks = Array.from({ length: count }, (_, i) => {
    const bytes = new Uint8Array(blockBytes);
    for (let at = 0; at < blockBytes; at += 7) bytes[at] = at * 31 + i;
    bytes[0] = i;
    bytes[1] = i >> 8;
    return bytes;
  });
  const cids = await Promise.all(blocks.map((block) => cidOfBlock(block)));
  const id = await cidOfBlock(new TextEncoder().encode(cids.join()));
  return { file: { id, blocks: cids, sizes: cids.map(() => blockBytes) }, blocks };
}

export interface Party {
  exchange: ShardExchange;
  cache: MemoryBlockCache;
  reports: string[];
}

/** An exchange on a transport, taking every link. */
export function partyOn(
  transport: PeerTransport,
  origin: BlockSource,
  ports: Partial<ExchangePorts> = {},
): Party {
  const cache = new MemoryBlockCache();
  const reports: string[] = [];
  const exchange = new ShardExchange({
    shelf: cache,
    origin,
    clock: realClock,
    random: Math.random,
    report: (_, reason) => void reports.push(reason),
    log: quietLog,
    ...ports,
  });
  transport.onLink((link) => exchange.addLink(link));
  return { exchange, cache, reports };
}

async function connectAll(transports: readonly PeerTransport[]): Promise<void> {
  for (const [i, from] of transports.entries()) {
    for (const to of transports.slice(i + 1)) await from.dial(addressOf(to));
  }
}

async function crowd(factory: TransportFactory, count: number, origin: CountingOrigin): Promise<Party[]> {
  const transports = await factory.make(count);
  const parties = transports.map((transport) => partyOn(transport, origin));
  await connectAll(transports);
  return parties;
}

function describeExchange(factory: TransportFactory): void {
  it('brings a file from a peer that has it, and nothing from the origin', async () => {
    const origin = new CountingOrigin();
    const [seed, page] = (await crowd(factory, 2, origin)) as [Party, Party];
    const { file, blocks } = await makeFile(6, limits.blockBytesMax);
    for (const [i, bytes] of blocks.entries()) await seed.cache.add(file.blocks[i] as Cid, bytes);
    seed.exchange.hold(file);
    expect(await page.exchange.want(file).settled).toBe(true);
    for (const [i, cid] of file.blocks.entries())
      expect(Buffer.compare(page.cache.peek(cid) as Uint8Array, blocks[i] as Uint8Array)).toBe(0);
    expect(origin.given).toBe(0);
    expect(page.exchange.stats()).toMatchObject({
      downBytes: 6 << 20,
      blocksDown: 6,
      originBytes: 0,
      missing: 0,
    });
    expect(seed.exchange.stats().upBytes).toBe(6 << 20);
    page.exchange.stop();
    seed.exchange.stop();
  });

  it('fetches what nobody has once from the origin for all', async () => {
    const origin = new CountingOrigin();
    const { file, blocks } = await makeFile(12, 100_000);
    for (const [i, bytes] of blocks.entries()) origin.blocks.set(file.blocks[i] as Cid, bytes);
    const leased = leasing(origin);
    const transports = await factory.make(3);
    const parties = transports.map((transport) => partyOn(transport, leased));
    await connectAll(transports);
    const all = await Promise.all(parties.map(({ exchange }) => exchange.want(file).settled));
    expect(all).toEqual([true, true, true]);
    expect(origin.given).toBe(12);
    for (const { exchange } of parties) exchange.stop();
  });

  it('goes on when a peer leaves in the middle of a transfer', async () => {
    const origin = new CountingOrigin();
    const transports = await factory.make(3);
    const parties = transports.map((transport) => partyOn(transport, origin));
    await connectAll(transports);
    const [first, second, page] = parties as [Party, Party, Party];
    const { file, blocks } = await makeFile(16, limits.blockBytesMax);
    for (const { cache, exchange } of [first, second]) {
      for (const [i, bytes] of blocks.entries()) await cache.add(file.blocks[i] as Cid, bytes);
      exchange.hold(file);
    }
    const wanted = page.exchange.want(file);
    await until(() => page.exchange.stats().blocksDown >= 2, 'two blocks');
    first.exchange.stop();
    expect(await wanted.settled).toBe(true);
    expect(origin.given).toBe(0);
    for (const { exchange } of parties) exchange.stop();
  });
}

/** As the coordinator does: one fetch of a block at a time, and a while for it to spread. */
function leasing(origin: CountingOrigin): BlockSource {
  const leased = new Set<Cid>();
  return {
    async fetch(cid) {
      if (leased.has(cid)) {
        throw new AtollError('conflict', 'Somebody else fetches it.', { details: { retryMs: 50 } });
      }
      leased.add(cid);
      return origin.fetch(cid);
    },
  };
}
