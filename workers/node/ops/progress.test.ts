/** The line on a terminal: what it says, that it is drawn over itself, leaves nothing behind, and obeys no words from elsewhere. */
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { durationOf, Eta, lineOf, openProgress, type Progress, shortOf } from './progress.ts';
import { idleView } from './testing/fake-control.ts';

class Screen {
  text = '';
  isTTY = true;
  columns = 80;
  write(text: string): void {
    this.text += text;
  }
  /** What stands in the last line, without colours. */
  get line(): string {
    const last = this.text.split('\n').at(-1) ?? '';
    return stripVTControlCharacters(last.split('\r\x1b[2K').at(-1) ?? '');
  }
}

function setup(env: NodeJS.ProcessEnv = {}) {
  const screen = new Screen();
  const clock = { now: 0 };
  const progress = openProgress(screen, { env, now: () => clock.now }) as Progress;
  return { screen, clock, progress };
}
const computing = (done: number) => ({
  ...idleView,
  phase: 'computing' as const,
  unit: { program: 'gpt-lane', done, total: 200 },
  swarm: {
    state: 'on' as const,
    direct: 2,
    relayed: 1,
    failed: 0,
    peerBytes: 0,
    servedBytes: 0,
    originBytes: 0,
  },
  credit: 1234,
  agreed: 5,
  pending: 2,
});
const state = (view: typeof idleView, held: string[] = []) => ({ label: 'contributor', view, held });

describe('the progress line', () => {
  it('is only on a terminal that can go back in a line', () => {
    const screen = new Screen();
    expect(openProgress(screen, { env: { TERM: 'dumb' }, now: () => 0 })).toBeNull();
    screen.isTTY = false;
    expect(openProgress(screen, { env: {}, now: () => 0 })).toBeNull();
  });

  it('says unit, time left, credit and peers', () => {
    const { screen, clock, progress } = setup();
    progress.show([state(computing(40))]);
    clock.now = 10_000;
    progress.show([state(computing(50))]);
    expect(screen.line).toBe(
      'computing gpt-lane 25% (50/200) | 2:30 left | credit 1.23k | agreed 5 | pending 2 | peers 3'.slice(
        0,
        79,
      ),
    );
  });

  it('says why nothing is computed, by who holds it back', () => {
    const { screen, progress } = setup();
    progress.show([
      state({ ...idleView, phase: 'paused', reason: 'Paused.' }, ['Resting by the schedule until Mo 19:00.']),
    ]);
    expect(screen.line).toMatch(/^paused: Resting by the schedule until Mo 19:00\. \| credit 0/);
  });

  it('draws numbers at most five times a second, and a new phase at once', () => {
    const { screen, clock, progress } = setup();
    for (clock.now = 0; clock.now < 1_000; clock.now += 10)
      progress.show([state(computing(Math.floor(clock.now / 10)))]);
    expect(screen.text.split('\r').length).toBeLessThan(9);
    progress.show([state(idleView)]);
    expect(screen.line).toMatch(/^waiting: /);
  });

  it('has colour unless NO_COLOR is set, and never writes beyond the line', () => {
    const [coloured, plain] = [setup(), setup({ NO_COLOR: '1' })];
    for (const { screen, progress } of [coloured, plain]) {
      screen.columns = 40;
      progress.show([state(computing(1))]);
      expect(screen.line).toHaveLength(39);
    }
    expect(coloured.screen.text).toContain('\x1b[32m');
    expect(plain.screen.text.replaceAll('\r\x1b[2K', '')).not.toContain('\x1b');
  });

  it('obeys no control characters of a coordinator', () => {
    const { screen, progress } = setup({ NO_COLOR: '1' });
    progress.show([state({ ...idleView, reason: 'a\x1b[2J\nb\x9b31mc' })]);
    progress.print('w\x1b]0;title\x07');
    expect(screen.text.replaceAll('\r\x1b[2K', '').replaceAll('\n', '')).toMatch(/^[\x20-\x7e]*$/);
  });

  it('puts words above the line and takes the line away at the end', () => {
    const { screen, progress } = setup();
    progress.show([state(computing(1))]);
    progress.print('A warning.');
    expect(screen.text).toContain('A warning.\n');
    expect(screen.line).toMatch(/^computing/);
    progress.close();
    expect(screen.line).toBe('');
    progress.show([state(computing(2))]);
    progress.print('Late.');
    expect(screen.line).toBe('');
    expect(screen.text).not.toContain('Late');
  });

  it('shows several in a word each', () => {
    const { screen, progress } = setup();
    const several = [computing(100), idleView].map((view, i) => ({ label: `gpu${i}`, view, held: [] }));
    progress.show([...several, { label: 'gpu2', view: null, held: [] }]);
    expect(screen.line).toBe(
      'gpu0 computing 50% | gpu1 waiting | gpu2 starting | credit 1.23k | agreed 5 | pending 2 | peers 3'.slice(
        0,
        79,
      ),
    );
  });
});

describe('time left', () => {
  it('counts from where a unit was first seen, and begins anew with the next', () => {
    const eta = new Eta();
    expect(eta.secondsLeft(0)).toBeNull();
    eta.seen(computing(100), 0);
    eta.seen(computing(110), 10_000);
    expect(eta.secondsLeft(10_000)).toBe(90);
    expect(eta.secondsLeft(15_000)).toBe(85);
    eta.seen(computing(1), 20_000);
    expect(eta.secondsLeft(20_000)).toBeNull();
    eta.seen(idleView, 21_000);
    expect(eta.secondsLeft(21_000)).toBeNull();
  });

  it('stands beside figures of three digits', () => {
    expect([0, 999, 1_000, 1_234, 12_345, 123_456, 42_799_974_656, 999_999].map(shortOf)).toEqual([
      ...['0', '999', '1.00k', '1.23k', '12.3k', '123k', '42.8G', '999k'],
    ]);
  });

  it('is said in hours, minutes and seconds', () => {
    expect([0, 59, 60, 3_599.1, 3_600, 36_061].map(durationOf)).toEqual([
      '0:00',
      '0:59',
      '1:00',
      '1:00:00',
      '1:00:00',
      '10:01:01',
    ]);
    expect(lineOf({ label: '', view: null, held: [] }, null)).toBe('starting');
  });
});
