/** Whatever happens in whatever order: random histories of the record's operations, and what holds after each of them. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import { dueAt, mayTryAgain, wanted } from '../consensus/consensus.ts';
import { climateOf, RecordBench } from '../testing/record-bench.ts';
import { defaultRecordRules } from './rules.ts';
import type { ReplicaRow, UnitRow } from './rows.ts';
import { isOpen, stateOf } from './units.ts';

const people = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const network = { prefixes: ['', 'n1', 'n2', 'n3'], vendors: ['', 'green', 'red'] };

const action = fc.record({
  kind: fc.constantFrom(
    ...(['work', 'work', 'work', 'work', 'work', 'settle', 'settle', 'settle'] as const),
    ...(['lease', 'lease', 'commit', 'reveal', 'reveal', 'accept'] as const),
    ...([
      'withhold',
      'release',
      'leave',
      'tick',
      'reissue',
      'unseal',
      'review',
      'resume',
      'twice',
      'restore',
    ] as const),
  ),
  who: fc.nat(people.length - 1),
  unit: fc.nat(4),
  random: fc.nat(0xffffffff),
  honest: fc.integer({ min: 0, max: 9 }).map((n) => n < 7),
  pass: fc.constantFrom(0, 10, 1_000, 10_000, 40_000),
});
const world = fc.record({
  actions: fc.array(action, { minLength: 40, maxLength: 160 }),
  online: fc.constantFrom(3, 100),
  provenOnline: fc.constantFrom(0, 50),
  refereesOnline: fc.constantFrom(0, 1),
  liars: fc.constantFrom(0, 10, 300),
  verified: fc.array(fc.constantFrom(0, 0, 5, 40, 2_000), { minLength: 8, maxLength: 8 }),
});

/** Trust is earned and doubted quickly, so that a short history sees checks, disputes and overturned results. */
const eager = {
  ...defaultRecordRules.trust,
  ...{ provenStreak: 2, trustedVerified: 3, canaryChance: 0.5, samplingFloor: 0.2, seatMs: 5_000 },
};

type World = typeof world extends fc.Arbitrary<infer W> ? W : never;
type Action = World['actions'][number];

function prepare({ online, provenOnline, refereesOnline, liars, verified }: World) {
  const referees = new Set<Hex>();
  const rules = { ...defaultRecordRules, referees };
  const climate = climateOf({ online, provenOnline, refereesOnline, liars, prefixesOnline: 4 });
  const bench = new RecordBench({ referees: rules.referees, trust: eager }, climate);
  const addresses = people.map((name, i) =>
    bench.person(name, verified[i] as number, {
      // Two keys of one wallet, some neighbours, some of one vendor.
      ...(i < 2 ? { owner: '0x01' as Hex } : {}),
      prefix: network.prefixes[i % 4] as string,
      vendor: network.vendors[i % 3] as string,
    }),
  );
  if (refereesOnline > 0) referees.add(addresses.at(-1) as Hex);
  for (let i = 0; i < 5; i++) bench.plan();
  return { bench, addresses };
}

function perform(bench: RecordBench, addresses: readonly Hex[], step: Action): void {
  const { kind, random, honest } = step;
  bench.now += step.pass;
  bench.random = random;
  const who = addresses[step.who] as Hex;
  const cid = `unit${String(step.unit + 1).padStart(4, '0')}`;
  const { store, operations } = bench;
  const own = store.openReplicas(who);
  const first = (state: string) => own.find((replica) => replica.state === state)?.assignment ?? '0xff';
  const digest = honest ? 'x' : `lie ${step.who % 3}`;
  const byKind: Record<Action['kind'], () => unknown> = {
    work: () => {
      const leased = bench.lease(who, { random });
      if (leased.type === 'none') return;
      bench.commit(leased.assignment);
      bench.reveal(leased.assignment, digest);
    },
    settle: () => {
      for (const unit of store.atHand())
        if (unit.phase === 'agreed') bench.accept(unit.cid, [`${unit.cid} out`]);
    },
    lease: () => bench.lease(who, { random }),
    commit: () =>
      own.length > 0 &&
      bench.commit(first('leased') === '0xff' ? (own[0]?.assignment ?? '0xff') : first('leased')),
    reveal: () =>
      own.length > 0 &&
      bench.reveal(
        first('committed') === '0xff' ? (own[0]?.assignment ?? '0xff') : first('committed'),
        digest,
      ),
    twice: () => !honest && own.length > 0 && bench.commit(own[0]?.assignment ?? '0xff', '0xbad'),
    withhold: () => store.runNow(operations.withhold(first('committed'), who, 'bad', bench.now)),
    release: () => store.runNow(operations.release(first('leased'), who, 'given back', bench.now)),
    leave: () => store.runNow(operations.releaseAll(who, 'left', bench.now)),
    accept: () => store.runNow(operations.accept(cid, bench.unit(cid).attempt, [`${cid} out`], bench.now)),
    reissue: () =>
      !honest && store.runNow(operations.reissue(cid, bench.unit(cid).attempt, 'lost', bench.now)),
    restore: () => honest && store.runNow(operations.restore(cid, 'gone', bench.now)),
    unseal: () => bench.unseal(cid),
    review: () => bench.review(who),
    resume: () => store.runNow(operations.resume(bench.now, 30_000)),
    tick: () => bench.tick(),
  };
  byKind[kind]();
}

function checkAll(bench: RecordBench): void {
  const { store } = bench;
  const rows: ReplicaRow[] = [];
  for (const unit of store.atHand()) {
    const replicas = store.replicas(unit.cid);
    rows.push(...replicas);
    checkUnit(
      bench,
      unit,
      replicas.filter((replica) => replica.attempt === unit.attempt),
    );
    for (const replica of replicas) checkReplica(unit, replica);
  }
  for (const { address, outlawedAt } of store.contributors.values()) {
    const own = rows.filter((replica) => replica.contributor === address);
    const open = own.filter((replica) => isOpen(replica.state)).map((replica) => replica.assignment);
    expect(
      store
        .openReplicas(address)
        .map((replica) => replica.assignment)
        .sort(),
    ).toEqual(open.sort());
    if (outlawedAt !== null) {
      expect(own.every((replica) => replica.leasedAt <= outlawedAt || replica.purpose === 'referee')).toBe(
        true,
      );
    }
  }
  checkLedger(bench);
}

function checkUnit(bench: RecordBench, unit: UnitRow, replicas: readonly ReplicaRow[]): void {
  const state = stateOf(unit, replicas);
  expect(unit.wanted).toBe(wanted(state) + (unit.spare ? 1 : 0));
  const due = dueAt(state);
  if (due !== null) expect(unit.dueAt).not.toBeNull();
  const standing = replicas.filter((replica) => !mayTryAgain(replica.state) && replica.state !== 'void');
  const owners = standing.filter((r) => r.state !== 'rejected' || r.digest !== null).map((r) => r.owner);
  expect(new Set(owners).size).toBe(owners.length);
  if (unit.phase === 'agreed' || unit.phase === 'accepted') {
    const supporters = replicas.filter((replica) => replica.digest === unit.digest);
    expect(supporters.length).toBeGreaterThanOrEqual(Math.min(unit.quorum, 1));
    expect(unit.digest).not.toBeNull();
  }
  if (unit.phase === 'accepted') {
    expect(unit.result).not.toBeNull();
    expect(unit.acceptedAt).not.toBeNull();
    if (!unit.overturned) expect(new TextDecoder().decode(unit.result as Uint8Array)).toBe(unit.digest);
  }
  if (unit.sealed) expect(bench.store.published.has(`${unit.cid} out`)).toBe(false);
}

function checkReplica(unit: UnitRow, replica: ReplicaRow): void {
  const { state, credit, settledAt } = replica;
  if (credit > 0n) expect(state).toBe('agreed');
  expect(credit).toBeLessThanOrEqual(BigInt(unit.operations));
  if (state === 'agreed' || state === 'rejected' || state === 'void') expect(settledAt).not.toBeNull();
  expect(replica.attempt).toBeLessThanOrEqual(unit.attempt);
}

function checkLedger({ store }: RecordBench): void {
  let sum = 0n;
  const byTransfers = new Map<string, bigint>();
  for (const { debit, credit, amount } of store.transfers) {
    byTransfers.set(debit, (byTransfers.get(debit) ?? 0n) - amount);
    byTransfers.set(credit, (byTransfers.get(credit) ?? 0n) + amount);
  }
  for (const { id, balance } of store.accounts.values()) {
    sum += balance;
    expect(balance).toBe(byTransfers.get(id));
    if (id !== 'issued') expect(balance).toBeGreaterThanOrEqual(0n);
  }
  expect(sum).toBe(0n);
}

test('random histories keep every invariant of units, replicas, standing and ledger', () => {
  fc.assert(
    fc.property(world, (each) => {
      const { bench, addresses } = prepare(each);
      for (const step of each.actions) {
        perform(bench, addresses, step);
        checkAll(bench);
      }
    }),
    { numRuns: 150 },
  );
});

test('a refused operation changes nothing at all', () => {
  fc.assert(
    fc.property(world, (each) => {
      const { bench, addresses } = prepare(each);
      for (const step of each.actions) {
        const before = snapshot(bench);
        const outcome = attempt(bench, addresses, step);
        if (outcome === 'refused') expect(snapshot(bench)).toEqual(before);
      }
    }),
    { numRuns: 40 },
  );
});

/** Rows are never changed in place, so that holding on to them is a snapshot. */
function snapshot({ store }: RecordBench): unknown[] {
  const replicas = [...store.atHand()].map(({ cid }) => store.replicas(cid));
  return [[...store.atHand()], replicas, [...store.contributors.values()], store.transfers.length];
}

/** Attempts that have a refusal to give. */
function attempt(bench: RecordBench, addresses: readonly Hex[], step: Action): 'refused' | 'done' {
  const { store, operations } = bench;
  const who = addresses[step.who] as Hex;
  const cid = `unit${String(step.unit + 1).padStart(4, '0')}`;
  const own = store.openReplicas(who)[0]?.assignment ?? '0xff';
  const refusable = {
    commit: () =>
      operations.commit({
        assignment: own,
        contributor: who,
        commitment: '0xc0',
        signature: '0x',
        now: bench.now,
      }),
    withhold: () => operations.withhold(own, who, 'bad', bench.now),
    release: () => operations.release(own, who, 'given back', bench.now),
    accept: () => operations.accept(cid, bench.unit(cid).attempt, [], bench.now),
    reissue: () =>
      operations.reissue(cid, bench.unit(cid).attempt + (step.honest ? 1 : 0), 'lost', bench.now),
  };
  const { kind } = step;
  if (kind in refusable) {
    const outcome = store.runNow(refusable[kind as keyof typeof refusable]());
    return outcome.ok || outcome.change ? 'done' : 'refused';
  }
  perform(bench, addresses, step);
  return 'done';
}
