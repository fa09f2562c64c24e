/** Archives: order, repeats, backpressure, and every way in which one ends. */
import { CarReader } from '@ipld/car';
import { describe, expect, test } from 'vitest';
import { encodeCanonical, linkOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { archive, walk } from './archive.ts';

/** A root with two documents, which share a block; one block is linked to twice by the first. */
function graph() {
  const blocks = new Map<Cid, Uint8Array>();
  const put = (bytes: Uint8Array, code: number) => {
    const cid = cidOfSync(bytes, code);
    blocks.set(cid, bytes);
    return cid;
  };
  const [x, y, z] = [1, 2, 3].map((n) => put(new Uint8Array(100).fill(n), rawCode)) as [Cid, Cid, Cid];
  const document = (...links: Cid[]) => put(encodeCanonical({ links: links.map(linkOf) }), cborCode);
  const first = document(x, y, x);
  const second = document(y, z);
  const root = document(first, second);
  const get = async (cid: Cid) => {
    const bytes = blocks.get(cid);
    if (!bytes) throw new AtollError('not_found', 'No such block.');
    return bytes;
  };
  return {
    blocks,
    get,
    root,
    order: [root, first, x, y, second, z],
    again: [root, first, x, y, x, second, y, z],
  };
}
type Graph = ReturnType<typeof graph>;

const rootOf = ({ root, blocks }: Graph) => ({ cid: root, bytes: blocks.get(root) as Uint8Array });
const quiet = { sent: () => undefined, ended: () => undefined };

async function cidsOf(blocks: AsyncIterable<{ cid: unknown }>): Promise<string[]> {
  const cids: string[] = [];
  for await (const { cid } of blocks) cids.push(String(cid));
  return cids;
}

describe('walk', () => {
  test('goes depth first, each block once or as often as it is met', async () => {
    const g = graph();
    expect(await cidsOf(walk(rootOf(g), g.get, { scope: 'all', dups: false }))).toEqual(g.order);
    expect(await cidsOf(walk(rootOf(g), g.get, { scope: 'all', dups: true }))).toEqual(g.again);
    expect(await cidsOf(walk(rootOf(g), g.get, { scope: 'block', dups: false }))).toEqual([g.root]);
  });

  test('ends where a graph is larger than an archive may be', async () => {
    // Each document links to the one below it twice: with repeats 2^40 blocks.
    const g = graph();
    let below = g.root;
    for (let i = 0; i < 40; i++) {
      const bytes = encodeCanonical({ links: [linkOf(below), linkOf(below)] });
      below = cidOfSync(bytes, cborCode);
      g.blocks.set(below, bytes);
    }
    const deep = { cid: below, bytes: g.blocks.get(below) as Uint8Array };
    await expect(cidsOf(walk(deep, g.get, { scope: 'all', dups: true }))).rejects.toMatchObject({
      code: 'too_large',
    });
  });
});

describe('an archive', () => {
  test('is a CAR that an independent reader reads', async () => {
    const g = graph();
    let [sent, ended] = [0, 0];
    const stream = archive(g.root, walk(rootOf(g), g.get, { scope: 'all', dups: false }), {
      sent: (bytes) => (sent += bytes),
      ended: () => ended++,
    });
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    const reader = await CarReader.fromBytes(bytes);
    expect((await reader.getRoots()).map(String)).toEqual([g.root]);
    expect(await cidsOf(reader.blocks())).toEqual(g.order);
    for await (const { cid, bytes: block } of reader.blocks())
      expect(cidOfSync(block, cid.code)).toBe(String(cid));
    expect([sent, ended]).toEqual([bytes.byteLength, 1]);
  });

  test('reads no further than its reader, and stops reading when it is left', async () => {
    const g = graph();
    const asked: Cid[] = [];
    const get = (cid: Cid) => (asked.push(cid), g.get(cid));
    const ended = Promise.withResolvers<void>();
    const stream = archive(g.root, walk(rootOf(g), get, { scope: 'all', dups: false }), {
      ...quiet,
      ended: ended.resolve,
    });
    const reader = stream.getReader();
    for (let i = 0; i < 4; i++) await reader.read(); // the header, then the root in three parts
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(asked.length).toBeLessThanOrEqual(2);
    await reader.cancel();
    await ended.promise;
    expect(asked.length).toBeLessThan(g.order.length - 1);
  });

  test('breaks off at a block that is not there', async () => {
    const g = graph();
    g.blocks.delete(g.order[3] as Cid);
    let ended = 0;
    const stream = archive(g.root, walk(rootOf(g), g.get, { scope: 'all', dups: false }), {
      ...quiet,
      ended: () => ended++,
    });
    await expect(new Response(stream).arrayBuffer()).rejects.toMatchObject({ code: 'not_found' });
    expect(ended).toBe(1);
  });

  test('ends when nobody reads it any more', async () => {
    const g = graph();
    const ended = Promise.withResolvers<void>();
    const events = { ...quiet, ended: ended.resolve };
    const stream = archive(g.root, walk(rootOf(g), g.get, { scope: 'all', dups: false }), events, 5);
    const reader = stream.getReader();
    await reader.read();
    await ended.promise;
    await expect(reader.read()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
