/**
 * What every storage has to do, as one suite: run on SQLite and on PostgreSQL by their own tests. A storage is reached by its port alone.
 */
import { expect, test, type TestContext } from 'vitest';
import { type Cid, cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import { brokenAt, firstTip } from '../ledger/chain.ts';
import { cidOf, hex, job, programs, unit } from './units.ts';
import type { Attempted, RoundRecord, Storage } from '../storage/port.ts';

export interface OpenStorage {
  storage: Storage;
  /** Closes it and opens it again on what it has stored, as a restart does; a new network would get another id. */
  reopen(): Promise<Storage>;
}

/** Opens a new and empty storage whose network is `hex(1)`; whoever opens it closes it after the test. */
export type Opener = (context: TestContext) => Promise<OpenStorage>;

const result = Uint8Array.of(1);
const digest = cidOfSync(result, cborCode);

export async function addJob(storage: Storage, id: Cid = job, createdAt = 5): Promise<void> {
  const bytes = new TextEncoder().encode(`document of ${id}`);
  await storage.addJob(
    { id, bytes, initial: cidOf('initial'), unigramEntropy: 4.5, sourceEntropy: null, createdAt },
    [cidOf('corpus'), cidOf('initial')],
  );
}

let assignments = 1_000;
export async function lease(storage: Storage, who: number, now = 0) {
  const contributor = hex(who, 20);
  await storage.greet(contributor, now);
  const assignment = hex(assignments++);
  const random = Math.imul(assignments, 0x9e3779b1) >>> 0;
  return storage.lease({ contributor, programs, assignment, random, now, online: 1, held: null });
}

export async function granted(storage: Storage, who: number, now = 0) {
  const outcome = await lease(storage, who, now);
  if (outcome.type !== 'lease') throw new Error(outcome.reason);
  return { assignment: outcome.assignment, unit: outcome.unit, contributor: hex(who, 20), signature: hex(0) };
}
type Held = Awaited<ReturnType<typeof granted>>;

export const commit = (storage: Storage, held: Held, now = 1) =>
  storage.commit({ ...held, commitment: hex(5), now });
export const reveal = (storage: Storage, held: Held, bytes: Uint8Array = result, now = 1) =>
  storage.reveal({ ...held, salt: hex(6), digest: cidOfSync(bytes, cborCode), result: bytes, now });

/** Leases, commits and reveals the same result for each of two contributors, of whichever unit comes. */
export async function agree(storage: Storage, now = 0): Promise<Held[]> {
  const held = [await granted(storage, 1, now), await granted(storage, 2, now)];
  for (const each of held) expect(await commit(storage, each, now)).toMatchObject({ ok: true });
  for (const each of held) expect(await reveal(storage, each, result, now)).toMatchObject({ ok: true });
  return held;
}

const kindsOf = (attempted: Attempted) =>
  attempted.ok ? attempted.transitions.map((transition) => transition.type) : attempted.code;

export function storageCompliance(open: Opener): void {
  unitTests(open);
  endTests(open);
  restoreTests(open);
  downtimeTests(open);
  jobTests(open);
  cancelTests(open);
  roundTests(open);
  ledgerTests(open);
  bonusTests(open);
  shelfTests(open);
}

/** A storage with one job and so many units of it. */
async function opened(open: Opener, context: TestContext, units = 1) {
  const { storage, reopen } = await open(context);
  await addJob(storage);
  const added = Array.from({ length: units }, (_, n) => unit(n));
  await storage.addUnits(job, added, 0);
  return { storage, reopen };
}

function unitTests(open: Opener): void {
  test('lease, commit, reveal, accept: verdicts and credit; shown and served once unsealed', async (context) => {
    const { storage } = await opened(open, context);
    await agree(storage);
    const { cid } = unit(0);
    expect(await storage.agreedUnits()).toEqual([cid]);
    const output = cidOf('output');
    const accepted = await storage.accept(cid, 1, [output], 9);
    expect(accepted.ok && accepted.verdicts.map((v) => v.outcome)).toEqual(['agreed', 'agreed']);
    expect(await storage.contributor(hex(1, 20))).toMatchObject({ agreed: 1, rejected: 0 });
    expect(await storage.agreedUnits()).toEqual([]);
    expect(await storage.isPublic(output)).toBe(false);
    expect(await storage.document(digest)).toBeNull();
    await storage.unseal([cid]);
    expect(await storage.isPublic(output)).toBe(true);
    expect(await storage.document(digest)).toEqual(result);
    expect(await storage.document(cid)).toEqual(unit(0).bytes);
    expect(kindsOf(await storage.accept(cid, 1, [], 10))).toBe('conflict');
    const record = await storage.unit(cid);
    expect(record).toMatchObject({ phase: 'accepted', job, round: 1, digest, result });
    expect(record?.replicas.map((replica) => replica.state)).toEqual(['agreed', 'agreed']);
  });

  test('nobody gets a second replica of a unit', async (context) => {
    const { storage } = await opened(open, context);
    expect((await lease(storage, 1)).type).toBe('lease');
    expect(await lease(storage, 1)).toMatchObject({ type: 'none' });
    expect((await lease(storage, 2)).type).toBe('lease');
    expect(await lease(storage, 3)).toMatchObject({ type: 'none' });
  });

  test('of many that ask at once, each unit goes to exactly as many as it wants', async (context) => {
    const { storage } = await opened(open, context, 8);
    const asked = await Promise.all(Array.from({ length: 24 }, (_, who) => lease(storage, who + 1)));
    const units = asked.flatMap((outcome) => (outcome.type === 'lease' ? [outcome.unit] : []));
    const counts = Map.groupBy(units, (cid) => cid);
    expect([...counts.values()].map((list) => list.length)).toEqual(Array(counts.size).fill(2));
    expect(units.length).toBe(16);
  });

  test('the same message once more is answered as before, another one conflicts, a stranger has no say', async (context) => {
    const { storage } = await opened(open, context);
    const held = await granted(storage, 1);
    expect(kindsOf(await commit(storage, held))).toEqual(['committed']);
    expect(kindsOf(await commit(storage, held))).toEqual([]);
    expect(kindsOf(await storage.commit({ ...held, commitment: hex(7), now: 2 }))).toBe('conflict');
    const stranger = { ...held, contributor: hex(2, 20) };
    expect(kindsOf(await commit(storage, stranger))).toBe('stale_lease');
    expect(kindsOf(await commit(storage, { ...held, assignment: hex(9) }))).toBe('stale_lease');
    expect(await storage.unit(cidOf('no unit'))).toBeNull();
    expect(await storage.replica(hex(9))).toBeNull();
    expect(await storage.contributor(hex(9, 20))).toBeNull();
  });
}

function endTests(open: Opener): void {
  test('what waits for a contributor is found again: leases, reveals, verdicts', async (context) => {
    const { storage } = await opened(open, context);
    const [one, two] = [await granted(storage, 1), await granted(storage, 2)];
    expect((await storage.lessees()).toSorted()).toEqual([hex(1, 20), hex(2, 20)]);
    expect((await storage.replica(one.assignment))?.program).toBe('p@1');
    await commit(storage, one);
    expect(await storage.openReveals(one.contributor)).toEqual([]);
    await commit(storage, two);
    expect(await storage.openReveals(one.contributor)).toEqual([one.assignment]);
    for (const each of [one, two]) await reveal(storage, each);
    expect(await storage.openReveals(one.contributor)).toEqual([]);
    expect(await storage.recentVerdicts(one.contributor, 5)).toEqual([]);
    await storage.accept(one.unit, 1, [], 3);
    const [verdict] = await storage.recentVerdicts(one.contributor, 5);
    expect(verdict).toMatchObject({ assignment: one.assignment, unit: one.unit, outcome: 'agreed' });
    expect(await storage.lessees()).toEqual([]);
  });

  test('leases given back, withheld reveals and those that ran out go to others', async (context) => {
    const { storage } = await opened(open, context);
    const [one, two] = [await granted(storage, 1), await granted(storage, 2)];
    expect(kindsOf(await storage.release(one.assignment, one.contributor, 'no', 1))).toEqual(['released']);
    expect(await storage.releaseAll(two.contributor, 'went away', 1)).toHaveLength(1);
    expect(await storage.releaseAll(two.contributor, 'went away', 1)).toEqual([]);
    const late = 1e9;
    const [three, four] = [await granted(storage, 3, 2), await granted(storage, 4, 2)];
    const changes = await storage.tick(late);
    expect(changes.flatMap((change) => change.transitions.map((t) => t.type))).toEqual([
      'expired',
      'expired',
    ]);
    expect(kindsOf(await commit(storage, three))).toBe('stale_lease');
    expect(four.unit).toBe(three.unit);
    const [five, six] = [await granted(storage, 5, late), await granted(storage, 6, late)];
    for (const each of [five, six]) await commit(storage, each, late);
    await reveal(storage, five, result, late);
    const withheld = await storage.withhold(six.assignment, six.contributor, 'does not match', late);
    expect(kindsOf(withheld)).toEqual(expect.arrayContaining(['withheld']));
  });

  test('another digest is rejected; a unit whose outputs are lost is issued again', async (context) => {
    const { storage } = await opened(open, context);
    await agree(storage);
    const { cid } = unit(0);
    expect(kindsOf(await storage.reissue(cid, 1, 'lost', 4))).toEqual(['reissued']);
    expect(kindsOf(await storage.reissue(cid, 1, 'lost', 4))).toBe('conflict');
    expect((await storage.recentVerdicts(hex(1, 20), 5)).map((v) => v.outcome)).toEqual(['void']);
    await agree(storage, 5);
    expect(await storage.accept(cid, 2, [], 6)).toMatchObject({ ok: true });
    const record = await storage.unit(cid);
    expect(record?.attempt).toBe(2);
    expect(record?.replicas.map(({ attempt, state }) => `${attempt} ${state}`)).toEqual([
      ...['1 void', '1 void', '2 agreed', '2 agreed'],
    ]);
  });
}

function restoreTests(open: Opener): void {
  test('an accepted unit whose outputs are gone is restored by one who finds its digest again', async (context) => {
    const { storage } = await opened(open, context);
    await agree(storage);
    const { cid } = unit(0);
    const output = cidOf('output');
    await storage.accept(cid, 1, [output], 2);
    expect(kindsOf(await storage.restore(cid, 'gone', 3))).toBe('conflict');
    await storage.unseal([cid]);
    await storage.forgetBlocks([output]);
    expect(await storage.isPublic(output)).toBe(false);
    expect(kindsOf(await storage.restore(cid, 'gone', 3))).toEqual(['reissued']);
    expect(kindsOf(await storage.restore(cid, 'gone', 3))).toBe('conflict');
    // Those who found it first may find it again, and nobody else has to.
    const held = await granted(storage, 1, 4);
    expect((await lease(storage, 2, 4)).type).toBe('none');
    await commit(storage, held, 5);
    expect(kindsOf(await reveal(storage, held, result, 5))).toEqual(['revealed', 'agreed']);
    expect(await storage.accept(cid, 2, [output], 6)).toMatchObject({ ok: true });
    expect(await storage.isPublic(output)).toBe(true);
    const record = await storage.unit(cid);
    expect(record).toMatchObject({ phase: 'accepted', digest, result, overturned: false, sealed: false });
    expect(record?.replicas.map(({ state }) => state)).toEqual(['agreed', 'agreed', 'agreed']);
  });

  test('a unit is restored to another digest only by a vote, and then those who agreed before were false', async (context) => {
    const { storage } = await opened(open, context);
    await agree(storage);
    const { cid } = unit(0);
    await storage.accept(cid, 1, [], 2);
    await storage.unseal([cid]);
    await storage.restore(cid, 'gone', 3);
    const other = Uint8Array.of(2);
    for (const who of [3, 4]) {
      const held = await granted(storage, who, 4);
      await commit(storage, held, 5);
      const found = kindsOf(await reveal(storage, held, other, 5));
      expect(found).toEqual(['revealed', who === 3 ? 'sampled' : 'agreed']);
    }
    const accepted = await storage.accept(cid, 2, [cidOf('right')], 6);
    expect(accepted.ok && accepted.verdicts.map((v) => v.outcome)).toEqual([
      ...['agreed', 'agreed', 'rejected', 'rejected'],
    ]);
    expect(await storage.unit(cid)).toMatchObject({ overturned: true, result });
    expect(await storage.contributor(hex(1, 20))).toMatchObject({ agreed: 0, rejected: 1, credit: 0n });
    expect(await storage.contributor(hex(3, 20))).toMatchObject({ agreed: 1, credit: 1_000n });
    expect(kindsOf(await storage.restore(cid, 'gone', 7))).toBe('conflict');
  });
}

function downtimeTests(open: Opener): void {
  test('after downtime nobody is out of time at once', async (context) => {
    const { storage, reopen } = await opened(open, context);
    const held = await granted(storage, 1);
    const { deadline } = (await storage.replica(held.assignment)) as { deadline: number };
    const again = await reopen();
    const now = deadline + 1_000_000;
    await again.resume(now, 5_000);
    expect(await again.tick(now + 4_000)).toEqual([]);
    expect((await again.replica(held.assignment))?.deadline).toBe(now + 5_000);
    expect(await again.tick(now + 6_000)).toHaveLength(1);
  });
}

function jobTests(open: Opener): void {
  test('jobs, newest first; those that are not active rest', async (context) => {
    const { storage, reopen } = await open(context);
    await addJob(storage);
    await addJob(storage);
    await addJob(storage, cidOf('other job'), 9);
    expect((await storage.jobs()).map(({ id, active }) => [id, active])).toEqual([
      [cidOf('other job'), true],
      [job, true],
    ]);
    expect(await storage.isPublic(cidOf('corpus'))).toBe(true);
    await storage.addUnits(job, [unit(0)], 0);
    await storage.setActiveJobs([cidOf('other job')]);
    expect((await lease(storage, 1)).type).toBe('none');
    const again = await reopen();
    expect((await again.jobs()).map(({ active }) => active)).toEqual([true, false]);
    expect((await lease(again, 1)).type).toBe('none');
    await again.setActiveJobs([job]);
    expect((await lease(again, 1)).type).toBe('lease');
    expect(await again.document(job)).toEqual(new TextEncoder().encode(`document of ${job}`));
  });

  test('one job is changed alone; a unit goes on while any active job has it', async (context) => {
    const { storage, reopen } = await open(context);
    const other = cidOf('other job');
    await addJob(storage);
    await addJob(storage, other, 9);
    await storage.addUnits(job, [unit(0), unit(1)], 0);
    await storage.addUnits(other, [unit(1)], 0);
    await storage.changeJob(job, { active: false, weight: 0.5 });
    expect(await granted(storage, 1)).toMatchObject({ unit: unit(1).cid });
    expect((await lease(storage, 1)).type).toBe('none');
    // What another process planned in the meantime rests too.
    await storage.addUnits(job, [unit(2)], 1);
    await storage.changeJob(other, { active: false });
    const again = await reopen();
    expect((await lease(again, 2)).type).toBe('none');
    await again.changeJob(job, { active: true });
    const asked = await Promise.all([2, 2, 3, 3, 4, 4].map((who) => lease(again, who)));
    const units = asked.flatMap((outcome) => (outcome.type === 'lease' ? [outcome.unit] : []));
    expect([units.length, new Set(units).size]).toEqual([5, 3]);
    await again.changeJob(other, { cancelled: true });
    await again.setActiveJobs([job]);
    expect((await again.jobs()).map(({ active, cancelled, weight }) => [active, cancelled, weight])).toEqual([
      [false, true, 1],
      [true, false, 0.5],
    ]);
  });
}

function cancelTests(open: Opener): void {
  test('of a cancelled job leases and commitments are void, and what only it needs is needed no more', async (context) => {
    const { storage } = await opened(open, context, 2);
    const held = await granted(storage, 1);
    await commit(storage, held);
    expect(kindsOf(await storage.withdraw(held.unit, 'cancelled', 2))).toBe('conflict');
    const before = (await storage.blockRoots(1)).roots;
    expect(before).toContain(cidOf('initial'));
    await storage.changeJob(job, { cancelled: true });
    const withdrawn = await storage.withdraw(held.unit, 'cancelled', 2);
    expect(withdrawn.ok && withdrawn.verdicts.map((v) => [v.contributor, v.outcome])).toEqual([
      [held.contributor, 'void'],
    ]);
    expect(kindsOf(await storage.withdraw(held.unit, 'cancelled', 2))).toEqual([]);
    expect((await lease(storage, 2)).type).toBe('none');
    expect(await storage.blockRoots(1)).toEqual({ roots: [], pending: [] });
    await storage.changeJob(job, { active: true });
    expect((await storage.blockRoots(1)).roots).toEqual(before);
  });

  test('slots in the order of the plan; a unit that serves two of them is computed once', async (context) => {
    const { storage } = await open(context);
    await addJob(storage);
    const units = [unit(1), unit(0), { ...unit(2), slot: { round: 2, kind: 'outer' as const, lane: 0 } }];
    const twice = {
      ...unit(0),
      slot: { round: 2, kind: 'train' as const, lane: 3 },
      blocks: [cidOf('input')],
    };
    await storage.addUnits(job, units, 4);
    await storage.addUnits(job, [...units, twice], 5);
    expect(await storage.isPublic(cidOf('input'))).toBe(true);
    const slots = await storage.slotsAfter(job, 0);
    expect(
      slots.map(({ slot, unit: cid, plannedAt }) => [slot.round, slot.kind, slot.lane, cid, plannedAt]),
    ).toEqual([
      [1, 'train', 0, unit(0).cid, 4],
      [1, 'train', 1, unit(1).cid, 4],
      [2, 'train', 3, unit(0).cid, 4],
      [2, 'outer', 0, unit(2).cid, 4],
    ]);
    expect(await storage.slotsOfRound(job, 2)).toHaveLength(2);
    expect(await storage.slotsAfter(job, 2)).toEqual([]);
    expect((await storage.slotsOfUnit(unit(0).cid)).map((slot) => slot.record.slot.round).sort()).toEqual([
      1, 2,
    ]);
    const held = await granted(storage, 1);
    const [found] = await storage.slotsOfUnit(held.unit);
    expect(found?.record).toMatchObject({ replicas: 1, leased: 1, phase: 'gathering', result: null });
  });
}

function roundTests(open: Opener): void {
  test('rounds are closed once, anchored, counted, and there after a restart', async (context) => {
    const { storage, reopen } = await open(context);
    await addJob(storage);
    await storage.addUnits(job, [unit(0)], 0);
    await agree(storage);
    await storage.accept(unit(0).cid, 1, [], 2);
    expect(await storage.counts(job, 1)).toEqual({ unitsAccepted: 1, unitsSplit: 0, replicasUsed: 2 });
    expect(await storage.contributorsOfRound(job, 1)).toBe(2);
    expect(await storage.counts(job, 2)).toEqual({ unitsAccepted: 0, unitsSplit: 0, replicasUsed: 0 });
    const summary = { round: 1, loss: 2.5, anchor: null } as RoundRecord['summary'];
    const record = { job, round: 1, root: hex(3), checkpoint: cidOf('checkpoint'), summary };
    await storage.closeRound(record, 8);
    await storage.closeRound({ ...record, root: hex(4) }, 9);
    await storage.closeRound({ ...record, round: 2, summary: { ...summary, round: 2 } }, 9);
    await storage.anchorRound(job, 1, hex(77), 12);
    const again = await reopen();
    const anchor = { root: hex(3), tx: hex(77), blockNumber: 12 };
    expect(await again.round(job, 1)).toEqual({ ...record, summary: { ...summary, anchor } });
    expect(await again.round(job, 3)).toBeNull();
    expect((await again.rounds(job)).map((each) => each.round)).toEqual([1, 2]);
    expect((await again.rounds(job, 1)).map((each) => each.round)).toEqual([2]);
    expect(again.network).toBe(hex(1));
    await again.check(10);
  });
}

function ledgerTests(open: Opener): void {
  test('credit beyond 2^53 is counted exactly, and the chain over it holds in batches of any size', async (context) => {
    const { storage, reopen } = await open(context);
    await addJob(storage);
    const operations = Number.MAX_SAFE_INTEGER;
    for (let n = 0; n < 3; n++) {
      await storage.addUnits(job, [{ ...unit(n), operations }], 0);
      await agree(storage);
      await storage.accept(unit(n).cid, 1, [], 1);
    }
    const { posted, escrowed } = await storage.ledger.balancesOf(hex(1, 20));
    const credit = (await storage.contributor(hex(1, 20)))?.credit;
    expect(posted + escrowed).toBe(credit);
    expect(credit).toBe(3n * BigInt(operations));
    expect(await storage.ledger.tip()).toEqual(firstTip);
    expect(await storage.seal(4)).toBe(4);
    const again = await reopen();
    let sealed = 4;
    for (let more = await again.seal(4); more > 0; more = await again.seal(4)) sealed += more;
    const transfers = await again.ledger.transfersAfter(0, 100);
    expect(transfers).toHaveLength(sealed);
    expect(brokenAt(transfers)).toBeNull();
    const total = transfers.filter((t) => t.debit === 'issued').reduce((sum, t) => sum + t.amount, 0n);
    expect(total).toBe(6n * BigInt(operations));
    expect((await again.ledger.transfersOf(hex(2, 20), 10)).length).toBeGreaterThanOrEqual(3);
    expect((await again.ledger.tip()).seq).toBe(sealed);
  });
}

function bonusTests(open: Opener): void {
  test('a pool is paid into once for each reference, and is all that its job spends', async (context) => {
    const { storage, reopen } = await opened(open, context);
    expect(await storage.ledger.poolOf(job)).toBeNull();
    const payment = { job, amount: 1_500n, reference: 'a' };
    const paid = await Promise.all([1, 2, 3].map(() => storage.fund(payment)));
    expect(paid.filter(Boolean)).toHaveLength(1);
    await agree(storage);
    await storage.accept(unit(0).cid, 1, [], 2);
    const again = await reopen();
    expect(await again.ledger.poolOf(job)).toBe(0n);
    const [one, two] = [await again.contributor(hex(1, 20)), await again.contributor(hex(2, 20))];
    expect([one?.credit, two?.credit]).toEqual([1_000n, 500n]);
    expect(await again.fund({ ...payment, amount: 9n })).toBe(false);
    expect(await again.fund({ ...payment, amount: 9n, reference: 'b' })).toBe(true);
    expect(await again.ledger.poolOf(job)).toBe(9n);
    while ((await again.seal(9)) > 0);
    const transfers = await again.ledger.transfersAfter(0, 100);
    expect(brokenAt(transfers)).toBeNull();
    expect(transfers.filter(({ kind, debit }) => kind === 'funded' && debit === 'issued')).toHaveLength(2);
  });

  test('the bonus of a round is paid once, however many ask for it at once, and makes a share larger', async (context) => {
    const { storage, reopen } = await open(context);
    await addJob(storage);
    await storage.addUnits(job, [unit(0)], 0);
    await agree(storage);
    await storage.accept(unit(0).cid, 1, [], 9);
    const gain = { job, round: 1, units: [unit(0).cid], before: 2, after: 1.75 };
    const paid = await Promise.all([1, 2, 3].map(() => storage.bonus(gain)));
    expect(paid.map((earned) => earned.map(({ amount }) => amount)).toSorted()).toEqual([
      [],
      [],
      [125n, 125n],
    ]);
    const again = await reopen();
    expect(await again.bonus(gain)).toEqual([]);
    expect(await again.bonus({ ...gain, round: 2, after: 3 })).toEqual([]);
    expect(await again.ledger.balancesOf(hex(1, 20))).toEqual({ posted: 0n, escrowed: 1_125n });
    while ((await again.seal(2)) > 0);
    const transfers = await again.ledger.transfersAfter(0, 100);
    expect(brokenAt(transfers)).toBeNull();
    expect(transfers.map(({ kind, amount }) => [kind, amount])).toEqual([
      ['earned', 1_000n],
      ['earned', 1_000n],
      ['bonus', 250n],
      ['bonus', 125n],
      ['bonus', 125n],
    ]);
    expect(await again.ledger.sharesOf(job, { most: 9 })).toEqual([
      { contributor: hex(1, 20), amount: 1_125n },
      { contributor: hex(2, 20), amount: 1_125n },
    ]);
  });
}

function shelfTests(open: Opener): void {
  const record = (key: string, value = '1', expiresAt: number | null = null, owner = '') => ({
    ...{ kind: 'k', key, owner, value, createdAt: 1, expiresAt },
  });

  test('the shelf: of all who add or take a record, one succeeds; what has expired is gone', async (context) => {
    const { shelf } = (await open(context)).storage;
    const added = await Promise.all(['1', '2', '3'].map((value) => shelf.add(record('a', value), 5)));
    expect(added.filter(Boolean)).toHaveLength(1);
    expect(await shelf.get('k', 'a', 5)).toMatchObject({ createdAt: 1, expiresAt: null });
    expect(await shelf.get('other kind', 'a', 5)).toBeNull();
    const taken = await Promise.all([1, 2, 3].map(() => shelf.take('k', 'a', 5)));
    expect(taken.filter((each) => each !== null)).toHaveLength(1);
    await shelf.put(record('b', '1', 10));
    await shelf.put(record('b', '2', 10));
    expect((await shelf.get('k', 'b', 9))?.value).toBe('2');
    expect(await shelf.get('k', 'b', 10)).toBeNull();
    expect(await shelf.add(record('b', '3', 10), 9)).toBe(false);
    expect(await shelf.add(record('b', '3', 20), 10)).toBe(true);
    expect(await shelf.take('k', 'b', 20)).toBeNull();
  });

  test('the shelf: lists by owner in pages, and sweeps', async (context) => {
    const { storage, reopen } = await open(context);
    for (const key of ['c', 'a', 'b'])
      await storage.shelf.put(record(key, '1', key === 'b' ? 10 : null, 'ann'));
    await storage.shelf.put(record('d', '1', 10, 'bob'));
    const { shelf } = await reopen();
    const keys = async (after: string, limit: number, now: number) =>
      (await shelf.list('k', 'ann', { after, limit, now })).map(({ key }) => key);
    expect(await keys('', 2, 1)).toEqual(['a', 'b']);
    expect(await keys('b', 2, 1)).toEqual(['c']);
    expect(await keys('', 9, 10)).toEqual(['a', 'c']);
    expect(await shelf.sweep(10)).toBe(2);
    expect(await shelf.sweep(10)).toBe(0);
    expect(await shelf.get('k', 'd', 1)).toBeNull();
  });
}
