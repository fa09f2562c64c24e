/** The exchange bound to links, shelf and origin: what a runtime sees of it, and what leaves this peer. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Cid } from '#protocol/codec/cid.ts';
import { decodeShardFrame, encodeShardFrame, type ShardFrame } from '#protocol/p2p/frames.ts';
import { until } from '../runtime/testing/fake-clock.ts';
import { manifestOf, manifestOfBlock, indicesOfBytes } from './exchange/manifest.ts';
import { MemoryNetwork, type MemoryTransport } from './memory/memory-transport.ts';
import type { Link } from './ports.ts';
import { CountingOrigin, makeFile, type Party, partyOn, realClock } from './testing/compliance.ts';

const parties: Party[] = [];
afterEach(() => {
  for (const { exchange } of parties.splice(0)) exchange.stop();
});

function setUp(origin = new CountingOrigin()) {
  const network = new MemoryNetwork(realClock);
  const join = async (contributor?: `0x${string}`): Promise<MemoryTransport> => {
    const transport = network.join(contributor ? { contributor } : {});
    await transport.start();
    return transport;
  };
  const party = async (contributor?: `0x${string}`) => {
    const transport = await join(contributor);
    const made = { ...partyOn(transport, origin), transport };
    parties.push(made);
    return made;
  };
  return { origin, join, party };
}

/** A peer that is no exchange: says what it likes and keeps what it hears. */
async function stranger(
  transport: MemoryTransport,
  to: MemoryTransport,
): Promise<{ heard: ShardFrame[]; say(frame: ShardFrame): void; link: Link }> {
  const heard: ShardFrame[] = [];
  const link = await transport.dial({ peer: to.peer, addresses: [] });
  link.listen({ frame: (bytes) => void heard.push(decodeShardFrame(bytes)), drain() {}, close() {} });
  return { heard, say: (frame) => void link.send(encodeShardFrame(frame)), link };
}

const never = new AbortController().signal;

describe('the shard exchange', () => {
  it('works without any peer as the origin alone does', async () => {
    const { origin, party } = setUp();
    const { exchange, cache } = await party();
    const { file, blocks } = await makeFile(3, 5_000);
    for (const [i, bytes] of blocks.entries()) origin.blocks.set(file.blocks[i] as Cid, bytes);
    expect(await exchange.fetch(file.blocks[1] as Cid, never)).toEqual(blocks[1]);
    expect(await exchange.fetch(file.blocks[1] as Cid, never)).toEqual(blocks[1]);
    expect(origin.given).toBe(1);
    expect(cache.has(file.blocks[1] as Cid)).toBe(true);
    await expect(exchange.fetch(file.id, never)).rejects.toMatchObject({ code: 'not_found' });
    origin.isOff = true;
    const cancel = new AbortController();
    const waiting = exchange.fetch(file.blocks[2] as Cid, cancel.signal);
    cancel.abort(new Error('no more'));
    await expect(waiting).rejects.toThrow('no more');
    expect(exchange.stats().missing).toBe(0);
  });

  it('gets a block from a peer while the origin is off, alone or with its file named', async () => {
    const { origin, party } = setUp();
    const [seed, page] = [await party(), await party()];
    const { file, blocks } = await makeFile(3, 5_000);
    for (const [i, bytes] of blocks.entries()) await seed.cache.add(file.blocks[i] as Cid, bytes);
    origin.isOff = true;
    seed.exchange.hold(file);
    await page.transport.dial({ peer: seed.transport.peer, addresses: [] });
    expect(await page.exchange.fetch(file.blocks[0] as Cid, never)).toEqual(blocks[0]);
    expect(await page.exchange.fetch(file.blocks[2] as Cid, never, { file })).toEqual(blocks[2]);
    expect(page.exchange.stats()).toMatchObject({ blocksDown: 2, originBlocks: 0 });
  });

  it('never tells of outputs before their verdict, and serves them after it', async () => {
    const { party, join } = setUp();
    const { exchange, cache, transport } = await party();
    const { file, blocks } = await makeFile(2, 5_000);
    const [input, output] = file.blocks as [Cid, Cid];
    await cache.add(input, blocks[0] as Uint8Array);
    await cache.putPinned(blocks[1] as Uint8Array);
    exchange.withhold([output]);
    // Even when a file that names it is held, or wanted.
    exchange.hold(file);
    exchange.want(file);
    const spy = await stranger(await join(), transport);
    const ask = () => {
      spy.say({ t: 'bits', file: output, ask: true, count: 1, bits: Uint8Array.of(0) });
      spy.say({ t: 'bits', file: file.id, ask: true, count: 2, bits: Uint8Array.of(0) });
      spy.say({ t: 'need', needs: true });
      spy.say({ t: 'req', file: output, index: 0, offset: 0, length: 5_000 });
      spy.say({ t: 'req', file: file.id, index: 1, offset: 0, length: 5_000 });
    };
    ask();
    await until(() => spy.heard.filter(({ t }) => t === 'no').length >= 2, 'two refusals');
    const told = spy.heard.filter((frame) => frame.t === 'bits' && frame.file === file.id);
    expect(told.map((frame) => (frame.t === 'bits' ? [...frame.bits] : []))).toContainEqual([1]);
    expect(told.some((frame) => frame.t === 'bits' && ((frame.bits[0] ?? 0) & 2) !== 0)).toBe(false);
    expect(spy.heard.some(({ t }) => t === 'blk')).toBe(false);
    exchange.serve([output]);
    ask();
    await until(() => spy.heard.some(({ t }) => t === 'blk'), 'the output');
    expect(spy.heard.some((frame) => frame.t === 'have')).toBe(true);
  });

  it('refuses a bad block, drops and reports its sender, and gets the right one elsewhere', async () => {
    const { origin, party, join } = setUp();
    const page = await party();
    const { file, blocks } = await makeFile(1, 5_000);
    const cid = file.blocks[0] as Cid;
    origin.blocks.set(cid, blocks[0] as Uint8Array);
    const liar = await stranger(await join('0x00000000000000000000000000000000000000aa'), page.transport);
    liar.say({ t: 'unchoke' });
    page.exchange.expectLinks(50);
    const fetched = page.exchange.fetch(cid, never);
    await until(() => liar.heard.some((frame) => frame.t === 'bits' && frame.file === cid), 'the question');
    liar.say({ t: 'bits', file: cid, ask: false, count: 1, bits: Uint8Array.of(1) });
    await until(() => liar.heard.some(({ t }) => t === 'req'), 'the request');
    liar.say({ t: 'blk', file: cid, index: 0, offset: 0, size: 5_000, bytes: new Uint8Array(5_000).fill(7) });
    expect(await fetched).toEqual(blocks[0]);
    expect(page.reports).toEqual(['bad-block']);
    expect(page.exchange.stats()).toMatchObject({ blocksRefused: 1, peers: [] });
  });

  it('says per peer and in sum what was moved', async () => {
    const { party } = setUp();
    const [seed, page] = [await party(), await party()];
    const { file, blocks } = await makeFile(4, 50_000);
    for (const [i, bytes] of blocks.entries()) await seed.cache.add(file.blocks[i] as Cid, bytes);
    seed.exchange.hold(file);
    await page.transport.dial({ peer: seed.transport.peer, addresses: [] });
    const wanted = page.exchange.want(file, { indices: [0, 2] });
    expect([wanted.total, wanted.here, await wanted.settled, wanted.here]).toEqual([2, 0, true, 2]);
    expect(page.exchange.stats()).toMatchObject({
      downBytes: 100_000,
      missing: 0,
      peers: [{ peer: seed.transport.peer, state: 'direct', downBytes: 100_000, upBytes: 0, blocksDown: 2 }],
    });
  });
});

describe('manifests', () => {
  it('name a file for everybody alike, and the blocks that hold some of its bytes', async () => {
    const { file } = await makeFile(3, 10);
    const named = manifestOf({ size: 2 * 2 ** 20 + 5, blocks: [...file.blocks] });
    expect(named.sizes).toEqual([2 ** 20, 2 ** 20, 5]);
    expect(manifestOf({ size: 2 * 2 ** 20 + 5, blocks: [...file.blocks] }).id).toBe(named.id);
    expect(manifestOf({ size: 2 * 2 ** 20 + 6, blocks: [...file.blocks] }).id).not.toBe(named.id);
    expect(manifestOfBlock(named.id).blocks).toEqual([named.id]);
    expect(
      indicesOfBytes([
        { from: 2 ** 20 - 1, to: 2 ** 20 + 1 },
        { from: 5, to: 5 },
        { from: 0, to: 3 },
      ]),
    ).toEqual([0, 1]);
  });
});
