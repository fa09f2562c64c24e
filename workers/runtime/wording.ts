/** What a person is told: the phase and one full sentence, as a pure function of where the contributor stands. */
import type { Problem } from '#protocol/errors.ts';
import type { Phase } from './view.ts';

export interface Situation {
  failure: Problem | null;
  paused: boolean;
  /** What is in hand is finished, and no more is taken. */
  draining: boolean;
  device: 'starting' | 'probing' | 'ready' | 'closed';
  /** The last device was lost and a fresh one is being opened. */
  replacing: boolean;
  /** A unit that was given back still occupies the device. */
  finishing: boolean;
  connected: boolean;
  /** Why the connection is down, when it was up or tried before. */
  downReason: string | null;
  hand: { program: string; stage: 'fetching' | 'computing'; done: number; total: number } | null;
  pending: number;
  /** No more may be taken before a verdict. */
  full: boolean;
  waitReason: string | null;
}

export function describe(at: Situation): [Phase, string] {
  const settling =
    at.pending === 0
      ? ''
      : ` ${counted(at.pending, 'computed unit is', 'computed units are')} still being settled.`;
  if (at.failure) return ['failed', sentence(at.failure.detail) + settling];
  if (at.paused) return ['paused', `Paused; no unit is in hand.${settling}`];
  if (at.device === 'probing') {
    return ['probing', 'Checking that this device computes the same bits as every other.'];
  }
  if (at.device !== 'ready') {
    return [
      'starting',
      at.replacing ? 'The device was lost; trying once more with a fresh one.' : 'Asking for the device.',
    ];
  }
  if (at.hand?.stage === 'fetching')
    return ['fetching', `Fetching the inputs of ${at.hand.program || 'a unit'}.`];
  if (at.hand) return ['computing', `Computing ${at.hand.program}${stepOf(at.hand)}.`];
  if (at.draining) return ['paused', `Takes no more units.${settling}`];
  if (!at.connected) return ['connecting', at.downReason ?? 'Connecting to the coordinator.'];
  return ['waiting', waitingReason(at)];
}

function waitingReason(at: Situation): string {
  if (at.finishing) return 'The device finishes the step it was at before it takes another unit.';
  if (at.full) {
    return `Waiting for the verdicts on ${counted(at.pending, 'computed unit', 'computed units')} before taking more.`;
  }
  return at.waitReason ?? 'Asking for work.';
}

function counted(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

function stepOf(hand: { done: number; total: number }): string {
  return hand.total > 0 ? `, ${hand.done} of ${hand.total} steps done` : '';
}

/** Text from elsewhere as a full sentence. */
export function sentence(text: string): string {
  const trimmed = text.trim() || 'No reason was given';
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
