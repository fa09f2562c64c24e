/** Contributors in this process that exchange blocks over real WebRTC: honest ones, ones that spoil what they give, and the gateway as each of them sees it. */
import { initialCheckpoint } from '#kernels/model/init.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { SwarmAsker } from '#protocol/http/swarm.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import type { Job } from '#protocol/messages/job.ts';
import { openNodeTransport } from '#workers/node/p2p-transport.ts';
import { exchanging } from '#workers/p2p/swarm-member.ts';
import { filesOf } from '#workers/runtime/catch-up.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { OriginSource } from '#workers/runtime/ports.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { contributorPorts, tokenBytes } from './rig.ts';

/** The coordinator's gateway as one contributor sees it. */
export class Gateway implements OriginSource {
  /** Only what units bring with them is given out: whatever was computed has to come from peers. */
  tokensOnly = false;
  bytes = 0;
  /** Requests for these blocks wait for that. */
  held: { cids: ReadonlySet<Cid>; until: Promise<void> } | null = null;
  readonly #source: OriginSource;

  constructor(source: OriginSource) {
    this.#source = source;
  }

  async fetch(cid: Cid, signal: AbortSignal, asker?: SwarmAsker): Promise<Uint8Array> {
    if (this.held?.cids.has(cid)) await this.held.until;
    const bytes = await this.#source.fetch(cid, signal, asker);
    if (this.tokensOnly && bytes.byteLength !== tokenBytes) {
      throw new AtollError('unavailable', 'The blocks of this coordinator are switched off.');
    }
    this.bytes += bytes.byteLength;
    return bytes;
  }
}

export interface Member {
  control: ContributorControl;
  gateway: Gateway;
  ports: ReturnType<typeof exchanging>;
}

/** Starts a contributor with peers. What it keeps is spoilt on the way out when it is hostile. */
export async function joinMember(url: string, { isHostile = false } = {}): Promise<Member> {
  const plain = contributorPorts(url);
  const gateway = new Gateway(plain.source);
  const { signer, cache } = plain;
  const find = cache.find.bind(cache);
  if (isHostile) {
    cache.find = async (cid) => {
      const bytes = await find(cid);
      return bytes && bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
    };
  }
  const ports = exchanging({ ...plain, source: gateway, cache }, (network) =>
    openNodeTransport({ url, network, signer, choice: 'direct' }),
  );
  const member = { control: createRuntime(ports), gateway, ports };
  await member.control.start();
  return member;
}

/**
 * One that computes nothing and has the first checkpoint of a job that nobody has begun: the only peer of whom it can be had. All that it gives of it is spoilt.
 * Resolves with the blocks.
 */
export async function joinSpoiler(
  url: string,
  { model, seed }: Pick<Job, 'model' | 'seed'>,
): Promise<Member & { blocks: ReadonlySet<Cid> }> {
  const member = await joinMember(url, { isHostile: true });
  await member.control.pause();
  const made = new MemoryBlocks();
  const root = await initialCheckpoint(model, seed, made);
  const document = await made.get(root);
  const files = filesOf(root, document);
  const blocks = new Set([root, ...files.flatMap((file) => file.blocks)]);
  for (const cid of blocks) await member.ports.cache.add(cid, await made.get(cid));
  member.ports.swarm.files(root, files);
  return { ...member, blocks };
}
