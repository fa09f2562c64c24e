/** The record on maps: a unit's whole life, and that an operation that throws leaves nothing. */
import { describe, expect, test } from 'vitest';
import type { Hex } from 'viem';
import { createRecord } from '../../record/record.ts';
import { defaultRecordRules } from '../../record/rules.ts';
import type { ReplicaRow } from '../../record/rows.ts';
import { cidOf, hex, job, planned, programs } from '../../testing/units.ts';
import { DueIndex, QueueIndex } from './indexes.ts';
import { MemoryStore } from './memory-store.ts';

describe('units', () => {
  test('lease, commit, reveal, accept: credit, and nothing is published before it is unsealed', async () => {
    const store = new MemoryStore();
    const record = createRecord(store, defaultRecordRules, () => 7);
    const unit = planned(0);
    store.put('units', unit);
    const result = Uint8Array.of(1);
    const held: { assignment: Hex; contributor: Hex; signature: Hex; now: number }[] = [];
    for (const who of [1, 2]) {
      const contributor = hex(who, 20);
      await record.greet(contributor, 0);
      const request = { contributor, programs, assignment: hex(100 + who), random: 7, now: 0, online: 2 };
      expect((await record.lease({ ...request, held: null })).type).toBe('lease');
      expect((await record.lease({ ...request, assignment: hex(9), held: null })).type).toBe('none');
      held.push({ assignment: request.assignment, contributor, signature: hex(0), now: 1 });
    }
    for (const each of held) expect((await record.commit({ ...each, commitment: hex(5) })).ok).toBe(true);
    for (const each of held) {
      expect((await record.reveal({ ...each, salt: hex(6), digest: job, result })).ok).toBe(true);
    }
    const accepted = await record.accept(unit.cid, 1, [job], 9);
    expect(accepted.ok && accepted.verdicts.map((verdict) => verdict.outcome)).toEqual(['agreed', 'agreed']);
    expect(store.unit(unit.cid)).toMatchObject({ phase: 'accepted', result, sealed: true });
    expect(store.published.has(job)).toBe(false);
    await record.unseal([unit.cid]);
    expect(store.published.has(job)).toBe(true);
    expect(await record.greet(hex(1, 20), 10)).toMatchObject({ agreed: 1, credit: 1_000n });
    expect([...store.accounts.values()].reduce((sum, account) => sum + account.balance, 0n)).toBe(0n);
  });

  test('an operation that throws leaves nothing behind', () => {
    const store = new MemoryStore();
    store.put('units', planned(0));
    const before = store.unit(planned(0).cid);
    const fail = () =>
      store.runNow({
        hints: {},
        run(view) {
          view.put('units', { ...planned(0), wanted: 0, dueAt: 5 });
          view.put('units', planned(1));
          view.post({
            ...{ kind: 'earned', debit: 'issued', credit: 'credit:0x', amount: 1n },
            ...{ job, unit: null, assignment: null, reason: 'test' },
          });
          view.attach(planned(0).cid, [job]);
          view.publish(planned(0).cid);
          throw new Error('halfway');
        },
      });
    expect(fail).toThrow('halfway');
    expect(store.unit(planned(0).cid)).toBe(before);
    expect([...store.atHand()]).toHaveLength(1);
    expect([store.accounts.size, store.transfers.length, store.blocks.size, store.published.size]).toEqual([
      0, 0, 0, 0,
    ]);
    const work = { kind: 'work', contributor: hex(1, 20), owner: hex(1, 20), random: 0 } as const;
    const offered = store.runNow({
      hints: { search: { ...work, window: 4, most: 4 } },
      run: (_view, found) => found,
    });
    expect(offered).toEqual([planned(0).cid]);
  });
});

test('what has been put away comes back as it was, also to be changed', () => {
  const store = new MemoryStore();
  const row = { ...planned(0), wanted: 0, bytes: Uint8Array.of(1, 2, 3), phase: 'accepted' as const };
  const replica: ReplicaRow = {
    purpose: 'vote',
    state: 'agreed',
    ...{ assignment: hex(1, 32), unit: row.cid, attempt: 1, contributor: hex(2, 20) },
    ...{ owner: hex(2, 20), prefix: '', device: 'd', vendor: '', weight: 4, leasedAt: 1 },
    ...{ deadline: 2, commitment: hex(3, 32), commitSignature: null, salt: null, digest: 'x' },
    ...{ result: Uint8Array.of(9), revealSignature: null, credit: 2n ** 80n, settledAt: null },
  };
  store.put('units', row);
  store.put('replicas', replica);
  store.archive(row.cid);
  expect([...store.atHand()]).toEqual([]);
  expect(store.replica(replica.assignment)).toEqual(replica);
  store.archive(row.cid);
  expect([store.unit(row.cid), store.replicas(row.cid)]).toEqual([row, [replica]]);
  store.archive(row.cid);
  store.put('replicas', { ...replica, state: 'rejected' });
  expect(store.replica(replica.assignment)?.state).toBe('rejected');
  expect(store.unit(row.cid)).toEqual(row);
});

describe('indexes', () => {
  test('the window is the first of the queue, whatever the order of arrival and however many have gone', () => {
    const queue = new QueueIndex();
    for (const n of [5, 3, 9, 1, 7]) queue.set(cidOf(String(n)), n);
    expect(queue.from(0, 3, 9)).toEqual([1, 3, 5].map((n) => cidOf(String(n))));
    queue.set(cidOf('1'), null);
    queue.set(cidOf('9'), 2);
    expect(queue.from(0, 3, 9)).toEqual([9, 3, 5].map((n) => cidOf(String(n))));
    expect(queue.from(2 ** 31, 3, 2)).toHaveLength(2);
    for (let n = 10; n < 5_000; n++) queue.set(cidOf(String(n)), n);
    for (let n = 10; n < 5_000; n++) queue.set(cidOf(String(n)), null);
    expect(queue.from(0, 99, 99)).toHaveLength(4);
  });

  test('a large window that has become gaps shows what comes behind them', () => {
    const queue = new QueueIndex();
    for (let n = 0; n < 8_000; n++) queue.set(cidOf(String(n)), n);
    for (let n = 0; n < 2_600; n++) queue.set(cidOf(String(n)), null);
    for (let i = 0; i < 8; i++) expect(queue.from(i * 2 ** 29, 1_200, 16)).toHaveLength(16);
  });

  test('deadlines come in order, as they were last set', () => {
    const due = new DueIndex();
    for (const n of [50, 20, 90, 10, 70]) due.set(cidOf(String(n)), n);
    due.set(cidOf('10'), 60);
    due.set(cidOf('20'), null);
    expect(due.before(65, 9)).toEqual([cidOf('50'), cidOf('10')]);
    expect(due.before(65, 1)).toEqual([cidOf('50')]);
    expect(due.before(1_000, 9)).toHaveLength(4);
  });
});
