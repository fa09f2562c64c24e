/**
 * Who counts in the climate, the share of proven liars among the judged. Keys are free: one that was outlawed before anything of it was accepted says
 * something of the present hour and nothing of the network's contributors, or a flood of such keys would make everybody's work dear for a month.
 */
import type { ContributorTrust } from './types.ts';

export const judgedMs = 30 * 24 * 3_600_000;
export const freeKeyMs = 3_600_000;

/** Whether a contributor counts among the judged; `lastSeenAt` is when it last came. */
export function isJudged(row: ContributorTrust & { lastSeenAt: number }, now: number): boolean {
  const { agreed, rejected, outlawedAt, lastSeenAt } = row;
  if (lastSeenAt <= now - judgedMs) return false;
  if (outlawedAt !== null && agreed === 0) return outlawedAt > now - freeKeyMs;
  return agreed > 0 || rejected > 0 || outlawedAt !== null;
}
