/** Several may hold a contributor back; the strongest wins, and work goes on only when nobody does. */
import { describe, expect, it } from 'vitest';
import { Gate } from './gate.ts';

function rig() {
  const calls: string[] = [];
  const note = (call: string) => async () => void calls.push(call);
  const gate = new Gate({ pause: note('pause'), drain: note('drain'), resume: note('resume') });
  return { calls, gate };
}

describe('the gate', () => {
  it('goes on only when nobody holds', async () => {
    const { calls, gate } = rig();
    await gate.hold('schedule', 'Out of hours.');
    await gate.hold('operator', 'Paused.', 'give-back');
    await gate.release('schedule');
    expect(calls).toEqual(['drain', 'pause']);
    await gate.release('operator');
    expect(calls).toEqual(['drain', 'pause', 'resume']);
    await gate.release('operator');
    expect(calls).toHaveLength(3);
  });

  it('falls back to the weaker hold when the stronger ends', async () => {
    const { calls, gate } = rig();
    await gate.hold('operator', 'Paused.', 'give-back');
    await gate.hold('power', 'Too hot.');
    await gate.hold('power', 'Still too hot.');
    await gate.release('operator');
    expect(calls).toEqual(['pause', 'drain']);
    expect([...gate.holds]).toEqual([['power', { mode: 'finish', why: 'Still too hot.' }]]);
  });
});
