/** A member of the swarm over links in memory: what it tells the coordinator, when it names itself to the gateway, what it gives to others, and whom it reports. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Hex } from 'viem';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfBlock, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import { type File, fileToLinks } from '#protocol/messages/file.ts';
import type { FrameOf, FromContributor } from '#protocol/messages/frames.ts';
import type { SignedPeerRecord } from '#protocol/p2p/record.ts';
import { MemoryBlockCache } from '../runtime/block-cache.ts';
import type { OriginSource } from '../runtime/ports.ts';
import { until } from '../runtime/testing/fake-clock.ts';
import { MemoryNetwork, type MemoryTransport } from './memory/memory-transport.ts';
import { SwarmMember } from './swarm-member.ts';
import { realClock } from './testing/compliance.ts';

const network: Hex = `0x${'7'.repeat(64)}`;
const quietLog = { debug() {}, info() {}, warn() {}, error() {} };
const never = new AbortController().signal;
const block = (seed: number) => Uint8Array.from({ length: 5_000 }, (_, i) => (i * seed) & 255);
const root = cidOfSync(block(1), rawCode);
const fileOf = (cid: Cid): File => ({ size: 5_000, blocks: [cid] });

/** The gateway: gives what it was given, and notes who asked. */
class Gateway implements OriginSource {
  readonly askers: (SwarmAsker | undefined)[] = [];
  readonly blocks = new Map<Cid, Uint8Array>();
  isOff = false;
  /** To somebody else, for ever. */
  isLent = false;

  async fetch(cid: Cid, _signal: AbortSignal, asker?: SwarmAsker): Promise<Uint8Array> {
    this.askers.push(asker);
    if (this.isOff) throw new AtollError('unavailable', 'The gateway is off.');
    if (this.isLent && asker) throw new AtollError('leased', 'Lent.', { details: { retryMs: 400 } });
    const bytes = this.blocks.get(cid);
    if (!bytes) throw new AtollError('not_found', 'The gateway has no such block.');
    return bytes;
  }
}

const members: SwarmMember[] = [];
afterEach(async () => {
  for (const member of members.splice(0)) await member.stop();
});

function joined(swarm: MemoryNetwork, contributor: Hex) {
  const transport = swarm.join({ contributor }) as MemoryTransport & { record(): Promise<SignedPeerRecord> };
  transport.record = async () => ({ peer: transport.peer }) as unknown as SignedPeerRecord;
  const [gateway, cache] = [new Gateway(), new MemoryBlockCache()];
  const sent: FrameOf<FromContributor, 'announce' | 'swarm' | 'report'>[] = [];
  const member = new SwarmMember({
    ...{ cache, origin: gateway, clock: realClock, log: quietLog },
    open: async () => transport,
    random: Math.random,
  });
  members.push(member);
  member.connected({ network, send: (frame) => void sent.push(frame) });
  return { member, transport, gateway, cache, sent };
}

type Joined = ReturnType<typeof joined>;

async function linked() {
  const swarm = new MemoryNetwork(realClock);
  const [a, b] = [joined(swarm, `0x${'a'.repeat(40)}`), joined(swarm, `0x${'b'.repeat(40)}`)];
  await until(() => a.member.view().state === 'on' && b.member.view().state === 'on', 'both on');
  const neighbour = ({ transport }: Joined, dial: boolean) => ({
    ...{ peer: transport.peer, addresses: [...transport.addresses], dial },
    contributor: `0x${'0'.repeat(40)}` as Hex,
  });
  a.member.neighbours([neighbour(b, true)]);
  b.member.neighbours([neighbour(a, false)]);
  await until(() => a.member.view().direct === 1 && b.member.view().direct === 1, 'a link');
  return { a, b };
}

describe('a member of the swarm', () => {
  it('names itself to the gateway only where somebody may have the block for it', async () => {
    const alone = joined(new MemoryNetwork(realClock), `0x${'a'.repeat(40)}`);
    const [one, two] = [await cidOfBlock(block(3), rawCode), await cidOfBlock(block(5), rawCode)];
    alone.gateway.blocks.set(one, block(3));
    expect(await alone.member.fetch(one, never)).toEqual(block(3));
    expect(alone.gateway.askers).toEqual([undefined]);

    const { a } = await linked();
    a.gateway.blocks.set(one, block(3)).set(two, block(5));
    expect(await a.member.fetch(one, never), 'a document').toEqual(block(3));
    a.member.files(root, [fileOf(two)]);
    expect(await a.member.fetch(two, never), 'a block of a file').toEqual(block(5));
    expect(a.gateway.askers).toEqual([undefined, { swarm: network, peer: a.transport.peer }]);
  });

  it('does not wait long for a block that the gateway has lent to a stranger', async () => {
    const { a } = await linked();
    const cid = await cidOfBlock(block(5), rawCode);
    a.gateway.blocks.set(cid, block(5));
    a.gateway.isLent = true;
    a.member.files(root, [fileOf(cid)]);
    expect(await a.member.fetch(cid, never)).toEqual(block(5));
    expect(a.gateway.askers[0]).toBeDefined();
    expect(a.gateway.askers.at(-1)).toBeUndefined();
  });

  it('gets an output from its maker that is published after it was asked for', async () => {
    const { a, b } = await linked();
    const output = await a.member.cache.putPinned(block(7));
    b.gateway.isOff = true;
    const fetched = b.member.fetch(output, never);
    await until(() => b.gateway.askers.length > 0, 'the question to the gateway');
    a.member.cache.publish(output);
    expect(await fetched).toEqual(block(7));
  });

  it('gives outputs to nobody until they are published', async () => {
    const { a, b } = await linked();
    const output = await a.member.cache.putPinned(block(7));
    await expect(b.member.fetch(output, never)).rejects.toMatchObject({ code: 'not_found' });
    a.member.cache.publish(output);
    b.gateway.isOff = true;
    expect(await b.member.fetch(output, never)).toEqual(block(7));
    expect(b.member.view().peerBytes).toBe(5_000);
    expect(a.member.view().servedBytes).toBe(5_000);
  });

  it('gets a block by its file from who made both, in whatever order they were published', async () => {
    for (const isDocumentFirst of [false, true]) {
      const { a, b } = await linked();
      b.gateway.isOff = true;
      const output = await a.member.cache.putPinned(block(7));
      const file = fileOf(output);
      const bytes = encodeCanonical({ delta: fileToLinks(file) });
      const document = await a.member.cache.putPinned(bytes, cborCode);
      const published = isDocumentFirst ? [document, output] : [output, document];
      for (const cid of published) a.member.cache.publish(cid);
      expect(await b.member.fetch(document, never)).toEqual(bytes);
      b.member.files(document, [file]);
      expect(await b.member.fetch(output, never)).toEqual(block(7));
    }
  });

  it('goes on giving what was public before it computed the same itself', async () => {
    const { a, b } = await linked();
    const cid = await cidOfBlock(block(7), rawCode);
    a.gateway.blocks.set(cid, block(7));
    await a.member.fetch(cid, never);
    expect(await a.member.cache.putPinned(block(7))).toBe(cid);
    a.member.cache.unpin(cid); // the unit was given up: no verdict will publish it
    b.gateway.isOff = true;
    expect(await b.member.fetch(cid, never)).toEqual(block(7));
  });

  it('gives what it made for a unit that it gave up, as soon as the same is an input', async () => {
    const { a, b } = await linked();
    const output = await a.member.cache.putPinned(block(7));
    const bytes = encodeCanonical({ delta: fileToLinks(fileOf(output)) });
    const document = await a.member.cache.putPinned(bytes, cborCode);
    for (const cid of [output, document]) a.member.cache.unpin(cid);
    b.gateway.isOff = true;
    await expect(b.member.fetch(output, never)).rejects.toMatchObject({ code: 'unavailable' });
    a.member.files(document, [fileOf(output)]);
    expect(await b.member.fetch(document, never)).toEqual(bytes);
    b.member.files(document, [fileOf(output)]);
    expect(await b.member.fetch(output, never)).toEqual(block(7));
    expect(b.member.view().peerBytes).toBe(5_000 + bytes.byteLength);
  });

  it('reports the peer whose block was false, and gets the block elsewhere', async () => {
    const { a, b } = await linked();
    const cid = await a.member.cache.putPinned(block(9));
    a.member.cache.publish(cid);
    a.cache.find = async () => block(11);
    b.gateway.blocks.set(cid, block(9));
    b.gateway.isOff = true;
    const fetched = b.member.fetch(cid, never);
    const report = JSON.stringify({ t: 'report', peer: a.transport.peer, fault: 'bad_block' });
    await until(() => b.sent.some((frame) => JSON.stringify(frame) === report), 'the report');
    b.gateway.isOff = false;
    expect(await fetched).toEqual(block(9));
    await until(() => b.member.view().direct === 0, 'the end of the link');
  });

  it('says where it stands, once for each change', async () => {
    const { a } = await linked();
    await until(() => a.sent.some((frame) => frame.t === 'swarm' && frame.direct === 1), 'word of the link');
    expect(a.sent.filter(({ t }) => t === 'announce')).toHaveLength(1);
    const said = a.sent.filter(({ t }) => t === 'swarm').map((frame) => JSON.stringify(frame));
    expect(new Set(said).size).toBe(said.length);
  });
});
