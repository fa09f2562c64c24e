/**
 * The operations of the hot path, once for every store: each is pure logic over a `View`, and an `Engine` makes it durable.
 *
 * `createOperations` is for those that run operations themselves (the simulation, synchronously); `createRecord` is what a storage hands out.
 */
import type { Hex } from 'viem';
import { bonusOperation } from '../ledger/bonus.ts';
import { fundOperation } from '../ledger/postings.ts';
import type { ContributorRecord, Storage } from '../storage/port.ts';
import { greeted, newDevice, nowhere, type Origin } from './accounts.ts';
import {
  commitOperation,
  releaseAllOperation,
  releaseOperation,
  revealOperation,
  type Setting,
  withholdOperation,
} from './contribute.ts';
import { leaseOperation } from './lease.ts';
import type { RecordRules } from './rules.ts';
import { reviewOperation } from './review.ts';
import {
  acceptOperation,
  reissueOperation,
  restoreOperation,
  unsealOperation,
  withdrawOperation,
} from './settle.ts';
import { resumeOperation, tickOperation } from './sweep.ts';
import type { Engine, Operation } from './view.ts';

/** The methods of `Storage` that run as operations. */
export type HotMethods = Pick<
  Storage,
  | 'resume'
  | 'greet'
  | 'lease'
  | 'commit'
  | 'reveal'
  | 'withhold'
  | 'release'
  | 'releaseAll'
  | 'tick'
  | 'review'
  | 'accept'
  | 'reissue'
  | 'restore'
  | 'withdraw'
  | 'fund'
  | 'unseal'
  | 'bonus'
>;

/** What each hot method runs; `resume` is one step, to be run until it returns false. */
export type Operations = {
  [K in Exclude<keyof HotMethods, 'resume'>]: (
    ...args: Parameters<Storage[K]>
  ) => Operation<Awaited<ReturnType<Storage[K]>>>;
} & { resume: (now: number, graceMs: number) => Operation<boolean> };

/** `random`: 32 bits, from a source that nobody outside can foresee. */
export function createOperations(rules: RecordRules, random: () => number): Operations {
  const at = (now: number): Setting => ({ now, rules, random: random() });
  return {
    resume: (now, graceMs) => resumeOperation(now, graceMs, rules),
    greet: (contributor, now, origin = nowhere) => greetOperation(contributor, now, origin),
    lease: (request) => leaseOperation(request, rules),
    commit: (message) => commitOperation(message, at(message.now)),
    reveal: (message) => revealOperation(message, at(message.now)),
    withhold: (assignment, contributor, why, now) =>
      withholdOperation({ assignment, contributor }, why, at(now)),
    release: (assignment, contributor, why, now) =>
      releaseOperation({ assignment, contributor }, why, at(now)),
    releaseAll: (contributor, why, now) => releaseAllOperation(contributor, why, at(now)),
    tick: (now) => tickOperation(at(now)),
    review: (contributor, from, now) => reviewOperation(contributor, from, at(now)),
    accept: (unit, attempt, blocks, now) => acceptOperation(unit, attempt, blocks, at(now)),
    reissue: (unit, attempt, why, now) => reissueOperation(unit, attempt, why, now, rules),
    restore: (unit, why, now) => restoreOperation(unit, why, now, rules),
    withdraw: (unit, why, now) => withdrawOperation(unit, why, now, rules),
    unseal: (units) => unsealOperation(units),
    bonus: (gain) => bonusOperation(gain, rules.ledger),
    fund: (funding) => fundOperation(funding),
  };
}

/** The hot methods of a `Storage`, run by its engine. */
export function createRecord(engine: Engine, rules: RecordRules, random: () => number): HotMethods {
  const operations = createOperations(rules, random);
  return {
    async resume(now, graceMs) {
      while (await engine.run(operations.resume(now, graceMs)));
    },
    greet: (...args) => engine.run(operations.greet(...args)),
    lease: (request) => engine.run(operations.lease(request)),
    commit: (message) => engine.run(operations.commit(message)),
    reveal: (message) => engine.run(operations.reveal(message)),
    withhold: (...args) => engine.run(operations.withhold(...args)),
    release: (...args) => engine.run(operations.release(...args)),
    releaseAll: (...args) => engine.run(operations.releaseAll(...args)),
    tick: (now) => engine.run(operations.tick(now)),
    review: (...args) => engine.run(operations.review(...args)),
    accept: (...args) => engine.run(operations.accept(...args)),
    reissue: (...args) => engine.run(operations.reissue(...args)),
    restore: (...args) => engine.run(operations.restore(...args)),
    withdraw: (...args) => engine.run(operations.withdraw(...args)),
    unseal: (units) => engine.run(operations.unseal(units)),
    bonus: (gain) => engine.run(operations.bonus(gain)),
    fund: (funding) => engine.run(operations.fund(funding)),
  };
}

function greetOperation(address: Hex, now: number, origin: Origin): Operation<ContributorRecord> {
  return {
    hints: { contributors: [address] },
    run(view) {
      const row = greeted(view, address, origin, now);
      view.put('contributors', row);
      if (!view.device(address, origin.device)) view.put('devices', newDevice(address, origin.device));
      const credit =
        (view.account(`credit:${address}`)?.balance ?? 0n) +
        (view.account(`escrow:${address}`)?.balance ?? 0n);
      return { contributor: address, agreed: row.agreed, rejected: row.rejected, credit };
    },
  };
}
