/**
 * Fairness between jobs by start-time fair queueing: each unit is given a tag when it is planned, and the queue goes by tags. A job whose units
 * cost much, or that has little weight, gets tags further apart; one that has rested starts at the present and has saved nothing up.
 *
 * Source: Goyal, Vin, Cheng, Start-time Fair Queueing (SIGCOMM 1996).
 */

/** Operations that are one step of the queue for a job of weight 1. */
const operationsPerStep = 1e6;

/** The part of its weight that a job keeps whose pool has run dry: others come first, but it does not stand still. */
const dryShare = 0.1;

export interface JobShare {
  /** 1 is ordinary. */
  weight: number;
  /** Where the job's last unit ends. */
  finish: number;
}

export interface Tags {
  tags: number[];
  /** Where the last of them ends: the job's `finish` from now on. */
  finish: number;
}

/** Tags of units in the order of planning. `present`: the smallest tag that is still waited for, or the largest ever given. */
export function fairTags(operations: readonly number[], { weight, finish }: JobShare, present: number): Tags {
  let next = Math.max(present, finish);
  const tags = operations.map((count) => {
    const tag = next;
    next += Math.max(1, count / operationsPerStep) / weight;
    return tag;
  });
  return { tags, finish: next };
}

/** What weight a job has: its own, less once it can no longer pay. A job without a pool is not limited by one. */
export function weightOfJob(weight: number, pool: bigint | null): number {
  return pool !== null && pool <= 0n ? weight * dryShare : weight;
}
