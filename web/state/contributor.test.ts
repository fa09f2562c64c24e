/** The visitor's part: nothing before Start, every failure in words, and no view from a contributor that was left. */
import { describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import type { ContributorControl, ContributorView } from '#workers/runtime/view.ts';
import { contributor, contributorAddress } from '../e2e/fixtures.ts';
import { ContributorState, idleView } from './contributor.svelte.ts';

class Control implements ContributorControl {
  readonly calls: string[] = [];
  show: (view: ContributorView) => void = () => undefined;
  refuse: (error: Error) => void = () => undefined;

  /** Goes on until it is refused: a contributor's start ends when its work does. */
  start() {
    this.calls.push('start');
    return new Promise<void>((_, reject) => (this.refuse = reject));
  }
  async pause() {
    this.calls.push('pause');
  }
  async resume() {
    this.calls.push('resume');
  }
  async stop() {
    this.calls.push('stop');
  }
  async forgetBlocks() {
    this.calls.push('forgetBlocks');
  }
  async subscribe(onView: (view: ContributorView) => void) {
    this.calls.push('subscribe');
    this.show = onView;
  }
}

function bench() {
  const made: Control[] = [];
  const records: string[] = [];
  const state = new ContributorState({
    create: async () => {
      made.push(new Control());
      return made.at(-1) as Control;
    },
    api: {
      contributor: async (address) => {
        records.push(address);
        return { ok: true, value: contributor };
      },
    },
  });
  return { state, made, records };
}

const computing: ContributorView = {
  ...idleView,
  phase: 'computing',
  reason: 'Computing.',
  contributor: contributorAddress,
};
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('ContributorState', () => {
  it('makes nothing before Start', () => {
    const { state, made } = bench();
    expect(made).toHaveLength(0);
    expect(state.view).toEqual(idleView);
    expect(state.begun).toBe(false);
    expect(state.mainAction).toBe('start');
  });

  it('listens before it starts, and offers pause, resume and stop as they apply', async () => {
    const { state, made } = bench();
    await state.act('start');
    expect(made[0]?.calls).toEqual(['subscribe', 'start']);
    made[0]?.show(computing);
    expect(state.mainAction).toBe('pause');
    await state.act('pause');
    made[0]?.show({ ...computing, phase: 'paused' });
    expect(state.mainAction).toBe('resume');
    await state.act('resume');
    await state.act('stop');
    expect(made[0]?.calls.slice(2)).toEqual(['pause', 'resume', 'stop']);
    expect(state.running).toBe(false);
  });

  it('keeps one contributor over Stop and Start, and with it its key and its figures', async () => {
    const { state, made } = bench();
    await state.act('start');
    made[0]?.show({ ...computing, agreed: 3 });
    await state.act('stop');
    expect(state.view).toMatchObject({ phase: 'stopped', agreed: 3 });
    await state.act('start');
    expect(made).toHaveLength(1);
    expect(made[0]?.calls.filter((call) => call === 'start')).toHaveLength(2);
  });

  it('does not call it a failure when Stop ends a start that is under way', async () => {
    const { state, made } = bench();
    await state.act('start');
    made[0]?.show({ ...computing, phase: 'connecting' });
    const control = made[0] as Control;
    control.stop = () => (control.refuse(new AtollError('cancelled', 'Stopped.')), settle());
    await state.act('stop');
    expect(state.view).toMatchObject({ phase: 'stopped', problem: null });
  });

  it('shows why a start was refused', async () => {
    const { state, made } = bench();
    await state.act('start');
    made[0]?.refuse(new AtollError('no_device', 'The browser gave no adapter.'));
    await settle();
    expect(state.view).toMatchObject({ phase: 'failed', problem: { code: 'no_device' } });
    expect(state.mainAction).toBe('start');
    await state.act('start');
    expect(made).toHaveLength(2);
  });

  it('puts a failure to load into words and lets the visitor try again', async () => {
    const state = new ContributorState({
      create: () => Promise.reject(new AtollError('unavailable', 'The contributor could not be loaded.')),
      api: { contributor: () => Promise.reject(new Error('not asked for here')) },
    });
    await state.act('start');
    expect(state.view).toMatchObject({ phase: 'failed', problem: { code: 'unavailable' } });
    expect(state.view.reason).not.toBe('');
    expect(state.mainAction).toBe('start');
    expect(state.busy).toBeNull();
  });

  it('reads the ledger when a verdict came in, and only then', async () => {
    const { state, made, records } = bench();
    await state.act('start');
    made[0]?.show(computing);
    await settle();
    expect(records).toHaveLength(0);
    made[0]?.show({ ...computing, agreed: 1 });
    made[0]?.show({ ...computing, agreed: 1, pending: 1 });
    await settle();
    expect(records).toEqual([contributorAddress]);
    expect(state.recorded).toEqual(contributor);
  });

  it('takes one action at a time', async () => {
    const { state, made } = bench();
    await Promise.all([state.act('start'), state.act('start')]);
    expect(made).toHaveLength(1);
  });
});
