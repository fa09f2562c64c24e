/** Who may pause and resume: nobody undoes another, units are finished where there is time, and a cap on data leaves the network. */
import { describe, expect, it } from 'vitest';
import { createGate } from './gate.ts';
import { FakeClock, FakeControl } from './testing/fake-control.ts';

async function setup(view = {}) {
  const control = new FakeControl(view);
  const clock = new FakeClock();
  return { control, clock, gate: await createGate(control, clock) };
}

describe('the gate', () => {
  it('pauses at the first who holds and resumes at the last who lets go', async () => {
    const { control, gate } = await setup();
    gate.hold('operator', 'Paused.');
    gate.hold('schedule', 'Resting.');
    gate.letGo('operator');
    expect(control.calls).toEqual(['pause']);
    expect([...gate.held.keys()]).toEqual(['schedule']);
    gate.letGo('schedule');
    gate.letGo('schedule');
    expect(control.calls).toEqual(['pause', 'resume']);
  });

  it('lets the unit in hand be finished, and pauses before the next is asked for', async () => {
    const { control, gate, clock } = await setup({ phase: 'computing' });
    gate.hold('duty', 'Resting.');
    clock.pass(60 * 60_000);
    expect(control.calls).toEqual([]);
    control.show({ phase: 'waiting' });
    expect(control.calls).toEqual(['pause']); // within the view: the runtime asks after it
  });

  it('waits for it no longer than the shortest grace', async () => {
    const { control, gate, clock } = await setup({ phase: 'fetching' });
    gate.hold('duty', 'Resting.');
    gate.hold('schedule', 'Resting.', { graceMs: 5_000 });
    clock.pass(4_999);
    expect(control.calls).toEqual([]);
    clock.pass(1);
    expect(control.calls).toEqual(['pause']);
    const at = await setup({ phase: 'computing' });
    at.gate.hold('operator', 'Paused.', { graceMs: 0 });
    expect(at.control.calls).toEqual(['pause']);
  });

  it('does not pause when the reason has gone before the unit was finished', async () => {
    const { control, gate } = await setup({ phase: 'computing' });
    gate.hold('power', 'Resting.');
    gate.letGo('power');
    control.show({ phase: 'waiting' });
    expect(control.calls).toEqual([]);
  });

  it('leaves the network when all is settled, and comes back still paused for others', async () => {
    const { control, gate } = await setup({ phase: 'computing', pending: 2 });
    gate.hold('data', 'The cap is reached.', { offline: true });
    control.show({ phase: 'waiting' });
    expect(control.calls).toEqual(['pause']);
    control.show({ pending: 0 });
    expect(control.calls).toEqual(['pause', 'stop']);
    gate.hold('schedule', 'Resting.');
    gate.letGo('data');
    await Promise.resolve();
    expect(control.calls).toEqual(['pause', 'stop', 'start', 'pause']);
    gate.letGo('schedule');
    expect(control.calls.at(-1)).toBe('resume');
  });

  it('leaves what is not settled after ten minutes to the next connection', async () => {
    const { control, gate, clock } = await setup({ pending: 1 });
    gate.hold('data', 'The cap is reached.', { offline: true });
    clock.pass(10 * 60_000 - 1);
    expect(control.calls).toEqual(['pause']);
    clock.pass(1);
    expect(control.calls).toEqual(['pause', 'stop']);
  });

  it('pauses a run that begins after it was held', async () => {
    const { control, gate } = await setup({ phase: 'stopped' });
    gate.hold('schedule', 'Resting.');
    control.calls.length = 0;
    control.show({ phase: 'starting' });
    expect(control.calls).toEqual(['pause']);
  });

  it('does nothing once closed', async () => {
    const { control, gate } = await setup();
    gate.close();
    gate.hold('operator', 'Paused.');
    expect(control.calls).toEqual([]);
  });
});
