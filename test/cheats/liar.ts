/**
 * The liar: computes honestly, then changes one bit of every output. Its results are well-formed, its blocks hash to what it says, its commitments
 * open: only comparing digests finds it out.
 */
import { decodeCanonical, encodeCanonical } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, parseCid, rawCode } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Result } from '#protocol/messages/workunit.ts';
import { CID } from 'multiformats/cid';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { Compute, RuntimePorts } from '#workers/runtime/ports.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';

export function createLiar(ports: RuntimePorts): ContributorControl {
  return createRuntime({ ...ports, compute: lyingCompute(ports.compute) });
}

export function lyingCompute(honest: Compute): Compute {
  return {
    async open(signal) {
      const device = await honest.open(signal);
      const { info, programs, probeDigest, lost } = device;
      return {
        info,
        programs,
        probeDigest,
        lost,
        probe: (stop) => device.probe(stop),
        close: () => device.close(),
        execute: async (unit, options) => falsify(await device.execute(unit, options), options.blocks),
      };
    },
  };
}

async function falsify(result: Result, blocks: BlockStore): Promise<Result> {
  const outputs: Record<string, Cid> = {};
  for (const [name, cid] of Object.entries(result.outputs)) outputs[name] = await spoil(cid, blocks);
  return { ...result, outputs };
}

/**
 * The block with one bit changed, or the document with its first raw block spoilt so. The bit is the 64 of the first byte: much for an int8 delta,
 * so that averaging does not round the lie away, and little for an f32, which stays a number.
 */
async function spoil(cid: Cid, blocks: BlockStore): Promise<Cid> {
  const bytes = await blocks.get(cid);
  if (parseCid(cid).code === rawCode) {
    const changed = bytes.slice();
    changed[0] = (changed[0] as number) ^ 64;
    return blocks.put(changed);
  }
  const document = decodeCanonical(bytes);
  const link = firstRawLink(document);
  if (link === null) throw new Error('The document links to no raw block, so there is nothing to lie about.');
  const spoilt = CID.parse(await spoil(link, blocks));
  return blocks.put(encodeCanonical(withLink(document, link, spoilt)), cborCode);
}

function firstRawLink(value: unknown): Cid | null {
  const cid = CID.asCID(value);
  if (cid) return cid.code === rawCode ? cid.toString() : null;
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return null;
  for (const child of Object.values(value)) {
    const found = firstRawLink(child);
    if (found) return found;
  }
  return null;
}

function withLink(value: unknown, from: Cid, to: CID): unknown {
  const cid = CID.asCID(value);
  if (cid) return cid.toString() === from ? to : cid;
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map((child) => withLink(child, from, to));
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, withLink(child, from, to)]));
}
