/** An IPFS client that is not ours fetches a checkpoint from a coordinator, block by block and as an archive, and has the very same model. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withHTTP } from '@helia/http';
import { multiaddr } from '@multiformats/multiaddr';
import { CarBlockIterator } from '@ipld/car';
import * as dagCbor from '@ipld/dag-cbor';
import { createHeliaLight, type Helia } from 'helia';
import { CID } from 'multiformats/cid';
import { identity } from 'multiformats/hashes/identity';
import { expect, onTestFinished, test } from 'vitest';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { testJob } from '#coordinator/testing/fake-programs.ts';
import { readCheckpoint } from '#kernels/model/checkpoint.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { BlockStore } from '#protocol/messages/file.ts';

/** Nearly half a million parameters, so that the files of a checkpoint have several blocks. */
const model = { L: 2, C: 128, NH: 4, T: 64, V: 256 };

async function coordinatorWithCheckpoint(): Promise<{ coordinator: Coordinator; checkpoint: Cid }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-helia-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const coordinator = await createCoordinator({ dataDir, port: 0, initialCheckpoint });
  onTestFinished(() => coordinator.close());
  const text = new TextEncoder().encode('The quick brown fox jumps over the lazy dog. '.repeat(400));
  await coordinator.ensureJob({ ...testJob(), model }, text);
  // Content-addressed, so what the coordinator begins with can be made here as well.
  const checkpoint = await initialCheckpoint(model, testJob().seed, new MemoryBlocks());
  return { coordinator, checkpoint };
}

/** A Helia that knows one provider of everything: the gateway at this address. Nobody else is asked. */
async function heliaOn({ port, url }: Coordinator): Promise<Helia> {
  const helia = createHeliaLight({ codecs: [dagCbor] });
  withHTTP(helia, { delegatedRouters: [], recursiveGateways: [], allowInsecure: true, allowLocal: true });
  const provider = {
    id: CID.createV1(0x920, identity.digest(new TextEncoder().encode(url))),
    multiaddrs: [multiaddr(`/ip4/127.0.0.1/tcp/${port}/http`)],
    protocols: ['transport-ipfs-gateway-http'],
    routing: 'test',
    router: 'test',
  };
  helia.addRouter({
    name: 'test',
    capabilities: () => ['findProviders'],
    async *findProviders() {
      yield provider;
    },
  } as unknown as Parameters<Helia['addRouter']>[0]);
  await helia.start();
  onTestFinished(async () => void (await helia.stop()));
  return helia;
}

/** What a client has fetched as a store of ours, which must never be written to. */
function storeOf(get: (cid: CID) => Promise<Uint8Array>): BlockStore {
  return { get: (cid) => get(CID.parse(cid)), put: () => Promise.reject(new Error('read only')) };
}

async function gather(parts: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  return new Uint8Array(Buffer.concat(all));
}

test('Helia fetches a checkpoint block by block', async () => {
  const { coordinator, checkpoint } = await coordinatorWithCheckpoint();
  const helia = await heliaOn(coordinator);
  let blocks = 0;
  const signal = AbortSignal.timeout(20_000);
  const fetched = storeOf(async (cid) => {
    blocks++;
    return gather(helia.blockstore.get(cid, { signal }));
  });
  const local = new MemoryBlocks();
  await initialCheckpoint(model, testJob().seed, local);
  expect(await readCheckpoint(fetched, checkpoint)).toEqual(await readCheckpoint(local, checkpoint));
  expect(blocks).toBeGreaterThan(5);
});

test('an archive of it has every block, each of which hashes to its name', async () => {
  const { coordinator, checkpoint } = await coordinatorWithCheckpoint();
  const response = await fetch(`${coordinator.url}/ipfs/${checkpoint}`, {
    headers: { accept: 'application/vnd.ipld.car' },
  });
  expect(response.headers.get('content-type')).toMatch(/^application\/vnd\.ipld\.car; version=1/);
  const archive = await CarBlockIterator.fromIterable(response.body as unknown as AsyncIterable<Uint8Array>);
  const blocks = new MemoryBlocks();
  for await (const { cid, bytes } of archive) expect(await blocks.put(bytes, cid.code)).toBe(String(cid));
  const local = new MemoryBlocks();
  await initialCheckpoint(model, testJob().seed, local);
  expect(await readCheckpoint(blocks, checkpoint)).toEqual(await readCheckpoint(local, checkpoint));
});
