/** What may be shown of units, on both databases: pages in order, nothing unpublished, and what of a contributor's record is still hidden. */
import type { Hex } from 'viem';
import { describe, expect, test } from 'vitest';
import type { SlotKind } from '../../planner/plan.ts';
import { useDatabases } from '../../testing/databases.ts';
import type { Place } from '../port.ts';
import { recordReads } from './records.ts';
import type { Db } from './schema.ts';

const open = useDatabases();

const address = (n: number): Hex => `0x${String(n).padStart(40, '0')}`;
const [ann, bob] = [address(1), address(2)];

async function unit(db: Db, cid: string, slot: [number, SlotKind, number], sealed: boolean): Promise<void> {
  const [round, kind, lane] = slot;
  await db.insertInto('slots').values({ job: 'job', round, kind, lane, unit: cid }).execute();
  await db
    .insertInto('units')
    .values({
      ...{ cid, job: 'job', bytes: new Uint8Array([1]), program: 'p', operations: 10, quality: 1000 },
      ...{
        memory_bytes: 0,
        checkpoint: null,
        phase: 'accepted',
        attempt: 1,
        target: 2,
        quorum: 2,
        splits: 0,
      },
      ...{ until: null, digest: `d-${cid}`, result: new Uint8Array([2]), reason: 'two agree', wanted: 0 },
      ...{ due_at: null, queue: 1, paused: 0, spare: 0, sealed: sealed ? 1 : 0, rechecks: 0, overturned: 0 },
      ...{ planned_at: 1, accepted_at: 2 },
    })
    .execute();
  for (const [i, contributor] of [ann, bob].entries()) {
    await db
      .insertInto('replicas')
      .values({
        ...{ assignment: `0x${cid}${i}`, unit: cid, attempt: 1, purpose: 'vote', contributor },
        ...{ owner: contributor, prefix: '', device: '', vendor: '', weight: 1, leased_at: i, deadline: 9 },
        ...{ state: contributor === ann ? 'agreed' : 'rejected', commitment: null, commit_signature: null },
        ...{
          salt: null,
          digest: `d-${cid}`,
          result: null,
          reveal_signature: null,
          credit: '30',
          settled_at: 5,
        },
      })
      .execute();
  }
  const of = { kind: 'earned' as const, debit: 'issued', credit: `escrow:${ann}`, amount: '30', at: 5 };
  await db
    .insertInto('transfers')
    .values({
      ...of,
      job: 'job',
      unit: cid,
      assignment: null,
      reason: '',
      seq: round * 10 + lane,
      hash: null,
    })
    .execute();
}

describe.each(['sqlite', 'postgres'] as const)('on %s', (name) => {
  const opened = open[name];

  test('published units come in pages, newest round first; the rest is hidden, and counted as such', async (context) => {
    const db = await opened(context);
    const records = recordReads({ db, write: () => Promise.reject(new Error()), onUnits: () => undefined });
    await unit(db, 'a', [1, 'train', 0], false);
    await unit(db, 'b', [1, 'train', 1], false);
    await unit(db, 'c', [1, 'outer', 2], false);
    await unit(db, 'd', [2, 'train', 0], true);
    await unit(db, 'e', [2, 'train', 1], false);
    const seen: string[] = [];
    let after: Place | undefined;
    for (;;) {
      const [next] = await records.published('job', { most: 1, ...(after ? { after } : {}) });
      if (!next) break;
      seen.push(next.unit);
      after = next;
    }
    expect(seen).toEqual(['e', 'c', 'a', 'b']);
    const trained = await records.published('job', { kind: 'train', most: 9 });
    expect(trained.map((each) => each.unit)).toEqual(['e', 'a', 'b']);
    expect(trained[1]).toMatchObject({
      ...{ job: 'job', round: 1, lane: 0, operations: 10, digest: 'd-a', overturned: false, acceptedAt: 2 },
      result: new Uint8Array([2]),
      replicas: [
        { contributor: ann, state: 'agreed', credit: 30n, leasedAt: 0, settledAt: 5 },
        { contributor: bob, state: 'rejected' },
      ],
    });
    expect(await records.publishedUnit('d')).toBeNull();
    expect(await records.publishedUnit('none')).toBeNull();
    expect((await records.publishedUnit('c'))?.kind).toBe('outer');
    expect(await records.unpublished(ann)).toEqual({ agreed: 1, rejected: 0, credit: 30n });
    expect(await records.unpublished(bob)).toEqual({ agreed: 0, rejected: 1, credit: 0n });
    expect(await records.unpublished(address(3))).toEqual({ agreed: 0, rejected: 0, credit: 0n });
    expect(await records.firstUnpublished()).toBe(20);
    await db.updateTable('units').set({ sealed: 0 }).execute();
    expect(await records.firstUnpublished()).toBeNull();
  });

  test('a wallet’s contributors come by address', async (context) => {
    const db = await opened(context);
    const records = recordReads({ db, write: () => Promise.reject(new Error()), onUnits: () => undefined });
    for (const contributor of [bob, ann]) {
      await db
        .insertInto('contributors')
        .values({
          ...{
            address: contributor,
            owner: ann,
            prefix: '',
            device: '',
            vendor: '',
            tier: 'mobile',
            stake: '0',
          },
          ...{ agreed: 1, rejected: 2, faults: 0, strikes: 0, last_rejected_at: null },
          ...{
            outlawed_at: contributor === bob ? 1 : null,
            trusted_at: null,
            first_seen_at: 0,
            last_seen_at: 0,
          },
        })
        .execute();
    }
    expect(await records.contributorsOf(ann, { most: 9 })).toEqual([
      { contributor: ann, owner: ann, agreed: 1, rejected: 2, outlawed: false, trusted: false },
      { contributor: bob, owner: ann, agreed: 1, rejected: 2, outlawed: true, trusted: false },
    ]);
    expect(await records.contributorsOf(ann, { after: ann, most: 9 })).toHaveLength(1);
    expect(await records.contributorsOf(bob, { most: 9 })).toEqual([]);
    expect(await records.standing(bob)).toMatchObject({ owner: ann, outlawed: true });
  });
});
