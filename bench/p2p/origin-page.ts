/** What a page does for `origin.ts`: a transport, an exchange on it, the coordinator's gateway behind both, and one file that it wants. */
import type { Cid } from '#protocol/codec/cid.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { openPageTransport } from '#workers/browser/p2p-transport.ts';
import type { Manifest } from '#workers/p2p/exchange/events.ts';
import { ShardExchange } from '#workers/p2p/shard-exchange.ts';
import { MemoryBlockCache } from '#workers/runtime/block-cache.ts';
import { httpBlocks } from '#workers/transport/http-blocks.ts';
import { systemClock } from '#workers/transport/platform.ts';

export interface SwarmPage {
  /** Opens the transport; the peer id. */
  open(url: string, network: `0x${string}`): Promise<string>;
  dial(peers: readonly string[]): Promise<void>;
  /** Whether all blocks came, and how long that took. */
  fetch(file: Manifest): Promise<{ done: boolean; ms: number }>;
  held(blocks: readonly Cid[]): number;
}

declare global {
  // eslint-disable-next-line no-var
  var swarmPage: SwarmPage;
}

const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const cache = new MemoryBlockCache();
const redialMs = 1_000;
let exchange: ShardExchange | null = null;
let dialTo: (peer: string) => Promise<unknown> = () => Promise.reject(new Error('not open'));

globalThis.swarmPage = {
  async open(url, network) {
    const signer = signerFromKey(createKey());
    const transport = await openPageTransport({ url, network, signer, choice: 'direct' });
    const gateway = httpBlocks(url);
    const asker = { swarm: 'bench', peer: transport.peer };
    const made = new ShardExchange({
      shelf: cache,
      origin: { fetch: (cid, signal, onPart) => gateway.fetch(cid, signal, asker, onPart) },
      clock: systemClock,
      random: Math.random,
      report: quiet,
      log,
    });
    exchange = made;
    transport.onLink((link) => made.addLink(link));
    await transport.start();
    dialTo = (peer) => transport.dial({ peer, addresses: [] });
    return transport.peer;
  },
  async dial(peers) {
    await Promise.allSettled(peers.map((peer) => dialTo(peer)));
    // As a member of a swarm does whose neighbours stay the same.
    setInterval(() => {
      for (const peer of peers) dialTo(peer).catch(quiet);
    }, redialMs);
  },
  async fetch(file) {
    const from = performance.now();
    const done = (await exchange?.want(file, { urgent: true }).settled) ?? false;
    return { done, ms: performance.now() - from };
  },
  held: (blocks) => blocks.filter((cid) => cache.has(cid)).length,
};
