/** The committed golden files against the code, in both directions. A failure here is a change of the protocol. */
import { readFile } from 'node:fs/promises';
import { hexToBytes, type Hex } from 'viem';
import { describe, expect, it } from 'vitest';
import { verifySignature } from '../messages/contribution.ts';
import { decodeFromContributor, decodeFromCoordinator } from '../messages/frames.ts';
import { decodeJob } from '../messages/job.ts';
import { decodeResult, decodeWorkunit } from '../messages/workunit.ts';
import { verifyProof } from '../merkle.ts';
import { decodePeerRecord, type SignedPeerRecord, verifyPeerRecord } from '../p2p/record.ts';
import * as fixtures from './fixtures.ts';

async function committed<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(new URL(name, import.meta.url), 'utf8')) as T;
}

describe('golden vectors', () => {
  it('are what the protocol encodes to, byte for byte', async () => {
    for (const [name, content] of Object.entries(await fixtures.goldenFiles())) {
      expect(await committed(name), name).toEqual(content);
    }
  });

  it('decode to the fixed documents', async () => {
    const documents = await committed<{ name: string; hex: Hex }[]>('documents.json');
    const hexOf = (name: string) => hexToBytes(documents.find((entry) => entry.name === name)?.hex ?? '0x');
    expect(decodeWorkunit(hexOf('workunit'))).toEqual(fixtures.workunit);
    expect(decodeResult(hexOf('result'))).toEqual(fixtures.result);
    expect(decodeJob(hexOf('job'))).toEqual(fixtures.job);
    expect(decodeJob(hexOf('job with data'))).toEqual(fixtures.jobWithData);
  });

  it('decode to the fixed frames', async () => {
    const frames = await committed<{ from: string; t: string; hex: Hex }[]>('frames.json');
    expect(frames.length).toBe(22);
    for (const { from, t, hex } of frames) {
      const [decode, all] =
        from === 'contributor'
          ? [decodeFromContributor, fixtures.fromContributor]
          : [decodeFromCoordinator, fixtures.fromCoordinator];
      expect(decode(hexToBytes(hex)), t).toEqual((all as Record<string, unknown>)[t]);
    }
  });

  it('decode to the frames with what they may carry besides', async () => {
    const frames = await committed<{ hex: Hex }[]>('fuller-frames.json');
    const [hello, welcome] = frames.map(({ hex }) => hexToBytes(hex));
    expect(decodeFromContributor(hello as Uint8Array)).toEqual(fixtures.fuller.hello);
    expect(decodeFromCoordinator(welcome as Uint8Array)).toEqual(fixtures.fuller.welcome);
  });

  it('decode to the fixed peer record, which verifies', async () => {
    const { record, hex } = await committed<{ record: SignedPeerRecord; hex: Hex }>('peer-record.json');
    expect(decodePeerRecord(hexToBytes(hex))).toEqual(record);
    const { contributor, peer, expires } = record;
    await expect(
      verifyPeerRecord(record, { network: fixtures.network, peer, now: expires - 1 }),
    ).resolves.toBe(contributor);
  });

  it('carry signatures and proofs that verify', async () => {
    const { typed } = await committed<{ typed: { kind: 'Hello'; message: never; signature: Hex }[] }>(
      'contribution.json',
    );
    expect(typed.length).toBe(6);
    for (const { kind, message, signature } of typed) {
      await verifySignature(fixtures.network, kind, message, signature, fixtures.signed.Hello.contributor);
    }
    const trees = await committed<{ root: Hex; results: { leaf: Hex; proof: Hex[] }[] }[]>('merkle.json');
    for (const { root, results } of trees) {
      for (const { leaf, proof } of results) expect(verifyProof(root, leaf, proof)).toBe(true);
    }
    const { root, rewards } = await committed<{ root: Hex; rewards: { leaf: Hex; proof: Hex[] }[] }>('rewards.json');
    for (const { leaf, proof } of rewards) expect(verifyProof(root, leaf, proof)).toBe(true);
  });
});
