/**
 * The operations of the hot path, once for every store: each is pure logic over a `View`, and an `Engine` makes it durable.
 *
 * `createOperations` is for those that run operations themselves (the simulation, synchronously); `createRecord` is what a storage hands out.
 */
import type { Hex } from 'viem';
import type { ContributorRecord, Storage } from '../storage/port.ts';
import { greeted, newDevice, nowhere, type Origin } from './accounts.ts';
import {
  commitOperation,
  releaseAllOperation,
  releaseOperation,
  revealOperation,
  withholdOperation,
} from './contribute.ts';
import { leaseOperation } from './lease.ts';
import { defaultRecordRules, type RecordRules } from './rules.ts';
import { acceptOperation, reissueOperation, unsealOperation } from './settle.ts';
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
  | 'accept'
  | 'reissue'
  | 'unseal'
>;

/** What each hot method runs; `resume` is one step, to be run until it returns false. */
export type Operations = {
  [K in Exclude<keyof HotMethods, 'resume'>]: (
    ...args: Parameters<Storage[K]>
  ) => Operation<Awaited<ReturnType<Storage[K]>>>;
} & { resume: (now: number, graceMs: number) => Operation<boolean> };

export function createOperations(rules: RecordRules): Operations {
  return {
    resume: (now, graceMs) => resumeOperation(now, graceMs),
    greet: (contributor, now, origin = nowhere) => greetOperation(contributor, now, origin),
    lease: (request) => leaseOperation(request, rules),
    commit: (message) => commitOperation(message, rules),
    reveal: (message) => revealOperation(message, rules),
    withhold: (assignment, contributor, why, now) =>
      withholdOperation({ assignment, contributor }, why, now, rules),
    release: (assignment, contributor, why, now) =>
      releaseOperation({ assignment, contributor }, why, now, rules),
    releaseAll: (contributor, why, now) => releaseAllOperation(contributor, why, now, rules),
    tick: (now) => tickOperation(now, rules),
    accept: (unit, attempt, blocks, now) => acceptOperation(unit, attempt, blocks, now),
    reissue: (unit, attempt, why, now) => reissueOperation(unit, attempt, why, now, rules),
    unseal: (units) => unsealOperation(units),
  };
}

/** The hot methods of a `Storage`, run by its engine. */
export function createRecord(engine: Engine, rules: RecordRules = defaultRecordRules): HotMethods {
  const operations = createOperations(rules);
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
    accept: (...args) => engine.run(operations.accept(...args)),
    reissue: (...args) => engine.run(operations.reissue(...args)),
    unseal: (units) => engine.run(operations.unseal(units)),
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
