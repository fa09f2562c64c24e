/** How long leases last, what speed contributors have, and when a lease is late enough for somebody else to help. */
import type { SchedulerRules } from './scheduler.ts';

/** How long a lease lasts: several times what the contributor should need, within the protocol's bounds. */
export function leaseMs(operations: number, speed: number | null, rules: SchedulerRules): number {
  const expected = operations / Math.max(speed ?? rules.newcomerSpeed, Number.MIN_VALUE);
  const lease = Math.round(expected * rules.leaseSlack);
  return Math.min(rules.leaseMsMax, Math.max(rules.leaseMsMin, lease));
}

/** A moving average of speed, after one more unit. */
export function speedAfter(speed: number | null, operations: number, ms: number): number {
  const measured = operations / Math.max(1, ms);
  return speed === null ? measured : speed + 0.25 * (measured - speed);
}

/** When the first open lease of a unit is late: a part of its time is over without a commitment. Null without an open lease. */
export function straggleAt(
  replicas: readonly { state: string; leasedAt: number; deadline: number }[],
  rules: SchedulerRules,
): number | null {
  let first = Infinity;
  for (const { state, leasedAt, deadline } of replicas) {
    if (state === 'leased') first = Math.min(first, leasedAt + (deadline - leasedAt) * rules.lateShare);
  }
  return first === Infinity ? null : Math.ceil(first);
}
