/** The rules by which contributor processes are kept running, with processes that are made up and with some that crash in earnest. */
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../runtime/ports.ts';
import {
  type ChildEvents,
  type ChildSpec,
  spawnChild,
  supervise,
  type SupervisorMessage,
} from './supervisor.ts';
import { FakeClock, idleView } from './testing/fake-control.ts';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const specOf = (label: string): ChildSpec => ({ label, args: [label], env: {} });

interface Started {
  label: string;
  at: number;
  events: ChildEvents;
  signals: string[];
  heard: SupervisorMessage[];
}

/** `luck` is a fraction of the greatest chance. */
function setup(labels: string[], luck = 0) {
  const clock = new FakeClock();
  const started: Started[] = [];
  const supervisor = supervise(labels.map(specOf), {
    clock,
    log: quiet,
    randomBytes: (count) => new Uint8Array(count).fill(Math.floor(luck * 256)),
    spawn: ({ label }, events) => {
      const one: Started = { label, at: clock.now(), events, signals: [], heard: [] };
      started.push(one);
      return {
        pid: started.length,
        kill: (signal) => one.signals.push(signal),
        send: (message) => one.heard.push(message),
      };
    },
  });
  const latest = (label: string) => started.findLast((one) => one.label === label) as Started;
  return { clock, started, supervisor, latest };
}

describe('the supervisor', () => {
  it('starts who crashes again after pauses that grow to five minutes, and begin anew after a healthy life', () => {
    const { clock, started, latest } = setup(['gpu0']);
    const pauses: number[] = [];
    for (let i = 0; i < 12; i++) {
      const at = clock.now();
      latest('gpu0').events.ended(null, 'SIGSEGV');
      const count = started.length;
      while (started.length === count) clock.pass(10);
      pauses.push(clock.now() - at);
    }
    expect(pauses.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(pauses.at(-1)).toBe(150_000);
    clock.pass(5 * 60_000);
    latest('gpu0').events.ended(1, null);
    const count = started.length;
    clock.pass(490);
    expect(started).toHaveLength(count);
    clock.pass(10);
    expect(started).toHaveLength(count + 1);
  });

  it('never starts at once, and never all together', () => {
    const [early, late] = [setup(['gpu0'], 0), setup(['gpu0'], 0.999)];
    for (const { clock, latest, started } of [early, late]) {
      latest('gpu0').events.ended(6, null);
      clock.pass(999);
      expect(started).toHaveLength(1);
    }
    early.clock.pass(1);
    late.clock.pass(1);
    expect([early.started.length, late.started.length]).toEqual([2, 1]);
  });

  it.each([2, 4, 5, 8, 9])(
    'leaves one alone that ended with %i, and goes on with the others',
    async (code) => {
      const { clock, started, supervisor, latest } = setup(['gpu0', 'gpu1']);
      latest('gpu0').events.ended(code, null);
      clock.pass(60 * 60_000);
      expect(started).toHaveLength(2);
      expect(supervisor.states().map(({ state }) => state)).toEqual(['ended', 'running']);
      latest('gpu1').events.ended(0, null);
      expect(await supervisor.ended).toBe(code);
    },
  );

  it('passes signals on, waits for all, and starts nobody meanwhile', async () => {
    const { clock, started, supervisor, latest } = setup(['gpu0', 'gpu1', 'gpu2']);
    latest('gpu2').events.ended(0, null);
    latest('gpu1').events.ended(0, null);
    supervisor.stop('SIGTERM');
    supervisor.stop('SIGTERM');
    expect(latest('gpu0').signals).toEqual(['SIGTERM', 'SIGTERM']);
    latest('gpu0').events.ended(0, null);
    clock.pass(60 * 60_000);
    expect(started).toHaveLength(3);
    expect(await supervisor.ended).toBe(0);
  });

  it('cancels a restart that is due when it is told to stop', async () => {
    const { clock, started, supervisor, latest } = setup(['gpu0']);
    latest('gpu0').events.ended(6, null);
    supervisor.stop('SIGTERM');
    clock.pass(60 * 60_000);
    expect(started).toHaveLength(1);
    expect(await supervisor.ended).toBe(6);
  });

  it('knows the views of those that run, takes nothing else for one, and pauses those that start later too', () => {
    const { clock, supervisor, latest } = setup(['gpu0']);
    for (const junk of [null, 7, 'view', { t: 'view' }, { t: 'view', view: { phase: 3 } }])
      latest('gpu0').events.message(junk);
    expect(supervisor.states()[0]?.view).toBeNull();
    latest('gpu0').events.message({ t: 'view', view: idleView, held: ['duty'] });
    expect(supervisor.states()[0]).toMatchObject({ view: idleView, held: ['duty'] });
    supervisor.tell({ t: 'pause' });
    const first = latest('gpu0');
    first.events.ended(1, null);
    expect(supervisor.states()[0]).toMatchObject({ state: 'waiting', view: null, held: [] });
    first.events.message({ t: 'view', view: idleView });
    expect(supervisor.states()[0]?.view).toBeNull();
    clock.pass(60_000);
    expect(latest('gpu0').heard).toEqual([{ t: 'pause' }]);
    expect(supervisor.states()[0]?.restarts).toBe(1);
  });
});

describe('processes in earnest', () => {
  /** Says that it is there, then does what its argument says. */
  const program = `
    process.send({ t: 'view', view: { phase: 'waiting', pid: process.pid }, held: [process.env.CUDA_VISIBLE_DEVICES] });
    process.on('SIGTERM', () => process.exit(0));
    if (process.argv[1] === 'crash') process.kill(process.pid, 'SIGKILL');
    else process.stdin.resume().on('end', () => process.exit(3));
    setInterval(() => {}, 1000);`;

  it('are started with their processor, crash and come back, and end on a signal', async () => {
    const clock = new FakeClock();
    const crashes = Promise.withResolvers<void>();
    const seen = new Set<unknown>();
    const ready = Promise.withResolvers<void>();
    let count = 0;
    const supervisor = supervise(
      [
        { label: 'steady', args: ['stay'], env: { CUDA_VISIBLE_DEVICES: 'GPU-1' } },
        { label: 'crashing', args: ['crash'], env: { CUDA_VISIBLE_DEVICES: 'GPU-2' } },
      ],
      {
        clock,
        randomBytes: (bytes) => new Uint8Array(bytes),
        log: {
          ...quiet,
          warn: () => void (++count === 3 ? crashes.resolve() : setImmediate(() => clock.pass(60_000))),
        },
        spawn: spawnChild({ program: [process.execPath, '-e', program] }),
        seen: () => {
          for (const { label, held } of supervisor.states()) if (held[0]) seen.add(`${label} ${held[0]}`);
          if (seen.has('steady GPU-1')) ready.resolve();
        },
      },
    );
    await Promise.all([crashes.promise, ready.promise]);
    expect(supervisor.states().map(({ state, restarts }) => [state, restarts])).toEqual([
      ['running', 0],
      ['waiting', 2],
    ]);
    supervisor.stop('SIGTERM');
    expect(await supervisor.ended).toBe(1); // one ended by a crash; the other on request
    expect(supervisor.states()[0]?.lastCode).toBe(0);
  });

  it('that cannot be started at all are tried again', async () => {
    const clock = new FakeClock();
    const warned = Promise.withResolvers<void>();
    const supervisor = supervise([specOf('gpu0')], {
      clock,
      randomBytes: (bytes) => new Uint8Array(bytes),
      log: { ...quiet, warn: () => warned.resolve() },
      spawn: spawnChild({ program: ['/nonexistent/program'] }),
    });
    await warned.promise;
    expect(supervisor.states()[0]?.state).toBe('waiting');
    supervisor.stop('SIGTERM');
    expect(await supervisor.ended).toBe(1);
  });
});
