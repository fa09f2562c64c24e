/**
 * What a page does for tests of transfers between pages, told by Node: an exchange on the page's own transport, a file that every page can make by itself, and an
 * eye on how the bytes come. There is no origin.
 */
import { type Cid, cidOfBlock } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { openPageTransport } from '../../browser/p2p-transport.ts';
import { MemoryBlockCache } from '../../runtime/block-cache.ts';
import { systemClock } from '../../transport/platform.ts';
import type { Manifest } from '../exchange/events.ts';
import { manifestOf } from '../exchange/manifest.ts';
import type { Libp2pTransport } from '../libp2p/transport.ts';
import { ShardExchange } from '../shard-exchange.ts';

export interface Transfer {
  /** Blocks that are here and right, of so many. */
  here: number;
  total: number;
  /** Bytes from peers, by who sent them; those of links that have ended are not told any more. */
  bytes: number;
  byPeer: Record<string, number>;
  /** Between bytes, or since the last. */
  longestPauseMs: number;
  originAsks: number;
}

export interface ExchangePage {
  /** The peer id. */
  open(url: string, network: `0x${string}`, upBytesPerSecond: number): Promise<string>;
  /** Has a file of so many blocks, and lets others have it. */
  hold(blocks: number): Promise<void>;
  dial(peer: string): Promise<void>;
  /** Begins to fetch the file of so many blocks. */
  fetch(blocks: number): Promise<void>;
  transfer(): Transfer;
}

declare global {
  // eslint-disable-next-line no-var
  var exchangePage: ExchangePage;
}

const blockBytes = 256 << 10;
const sampleMs = 20;
const quiet = () => undefined;
const cache = new MemoryBlockCache();
const eye = { bytes: 0, at: 0, longestPauseMs: 0 };
let transport: Libp2pTransport;
let exchange: ShardExchange;
let wanted: readonly Cid[] = [];
let originAsks = 0;

/** The same for everybody, and no two alike. */
function blockOf(index: number): Uint8Array {
  const words = new Uint32Array(blockBytes / 4);
  for (let i = 0, x = index + 1; i < words.length; i++)
    words[i] = x = Math.imul(x, 1_664_525) + 1_013_904_223;
  return new Uint8Array(words.buffer);
}

async function fileOf(count: number): Promise<{ manifest: Manifest; blocks: Uint8Array[] }> {
  const blocks = Array.from({ length: count }, (_, i) => blockOf(i));
  const cids = await Promise.all(blocks.map((bytes) => cidOfBlock(bytes)));
  const { id } = manifestOf({ size: count * blockBytes, blocks: cids });
  return { manifest: { id, blocks: cids, sizes: cids.map(() => blockBytes) }, blocks };
}

/** Notes since when nothing has come. */
function look(): void {
  const { downBytes } = exchange.stats();
  const now = performance.now();
  eye.longestPauseMs = Math.max(eye.longestPauseMs, now - eye.at);
  if (downBytes === eye.bytes) return;
  eye.bytes = downBytes;
  eye.at = now;
}

globalThis.exchangePage = {
  async open(url, network, upBytesPerSecond) {
    const signer = signerFromKey(createKey());
    transport = await openPageTransport({ url, network, signer, choice: 'direct' });
    const origin = {
      fetch: () => {
        originAsks++;
        return Promise.reject(new AtollError('unavailable', 'There is no origin here.'));
      },
    };
    const ports = { shelf: cache, origin, clock: systemClock, random: Math.random, report: quiet };
    const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
    exchange = new ShardExchange({ ...ports, log }, { upBytesPerSecond });
    transport.onLink((link) => exchange.addLink(link));
    await transport.start();
    return transport.peer;
  },
  async hold(count) {
    const { manifest, blocks } = await fileOf(count);
    for (const [i, bytes] of blocks.entries()) await cache.add(manifest.blocks[i] as Cid, bytes);
    exchange.hold(manifest);
  },
  async dial(peer) {
    await transport.dial({ peer, addresses: [] }, AbortSignal.timeout(limits.connectMsMax));
  },
  async fetch(count) {
    const { manifest } = await fileOf(count);
    wanted = manifest.blocks;
    eye.at = performance.now();
    const timer = setInterval(look, sampleMs);
    void exchange.want(manifest, { urgent: true }).settled.then(() => clearInterval(timer));
  },
  transfer() {
    const { downBytes, peers } = exchange.stats();
    return {
      here: wanted.filter((cid) => cache.has(cid)).length,
      total: wanted.length,
      bytes: downBytes,
      byPeer: Object.fromEntries(peers.map((each) => [each.peer, each.downBytes])),
      longestPauseMs: eye.longestPauseMs,
      originAsks,
    };
  },
};
