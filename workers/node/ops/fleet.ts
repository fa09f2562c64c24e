/**
 * `--gpus`: this process computes nothing itself, but keeps one contributor process for each graphics processor running and speaks for all of them: one health
 * server, one progress line, one answer to signals. Each child has a key, a control socket and CUDA's view of its processor alone.
 */
import type pino from 'pino';
import { systemClock, systemRandom } from '../../transport/platform.ts';
import { type Config, labelOf, type Setting } from '../config.ts';
import { specOf } from '../options.ts';
import { dividedCaps, parseDataMax } from './data-cap.ts';
import { type GpuChoice, listGpus, selectGpus } from './gpus.ts';
import { Meter } from './meter.ts';
import type { Worker } from './metrics.ts';
import { openNvml } from './nvml.ts';
import { serveHealth, supervisedVariable, watchUpdates } from './operate.ts';
import type { Progress } from './progress.ts';
import { type ChildSpec, type ChildState, spawnChild, supervise, type Supervisor } from './supervisor.ts';

export interface FleetOptions {
  config: Config;
  /** Where the children's arguments come from. */
  settings: readonly Setting[];
  log: pino.Logger;
  progress: Progress | null;
  /** A file descriptor that children print to. */
  childOutput?: number;
  /** Starts a node when arguments follow it; this program unless given. */
  program?: readonly string[];
}

export interface Fleet {
  /** The exit code, when every child has ended for good. */
  readonly ended: Promise<number>;
  states(): ChildState[];
  pause(): void;
  resume(): void;
  /** As SIGTERM does: children drain. A second call stops them at once, and what is left after their time is killed. */
  stop(signal?: NodeJS.Signals): void;
}

/** A child that has not ended so long after its own time for draining is killed. */
const lateMs = 4_000;
const labelCharsMax = 44;

/** Throws `bad_config` and `no_device` with what is there. */
export async function superviseGpus(options: FleetOptions): Promise<Fleet> {
  const { config, log } = options;
  const choices = selectGpus((config.gpus ?? ['all']).join(','), await listGpus());
  const specs = choices.map((choice) => childSpec(choice, choices.length, config, options.settings));
  const closes: (() => void | Promise<void>)[] = [];
  const meters = specs.map(() => new Meter(() => systemClock.now()));
  let supervisor: Supervisor | null = null;
  const states = () => supervisor?.states() ?? [];
  const workers = (): Worker[] =>
    states().map(({ label, restarts, held }, i) => ({ label, meter: meters[i] as Meter, held, restarts }));
  await watch(config, choices, workers, closes);
  closes.push(await watchUpdates(config, log));
  const { program = ownProgram(), childOutput } = options;
  supervisor = supervise(specs, {
    spawn: spawnChild({ program, ...(childOutput === undefined ? {} : { output: childOutput }) }),
    clock: systemClock,
    randomBytes: systemRandom,
    log,
    seen: (index, view) => {
      if (view) meters[index]?.seen(view);
      else meters[index]?.forget();
      options.progress?.show(states());
    },
  });
  const ended = supervisor.ended.then(async (code) => {
    for (const close of closes.reverse()) await close();
    return code;
  });
  log.info({ gpus: choices.map(({ label, name }) => `${label}: ${name}`) }, 'One contributor runs on each.');
  return asFleet(supervisor, ended, config.drainMs + lateMs);
}

function asFleet(supervisor: Supervisor, ended: Promise<number>, killMs: number): Fleet {
  let late: NodeJS.Timeout | null = null;
  void ended.then(() => late && clearTimeout(late));
  return {
    ended,
    states: () => supervisor.states(),
    pause: () => supervisor.tell({ t: 'pause' }),
    resume: () => supervisor.tell({ t: 'resume' }),
    stop: (signal = 'SIGTERM') => {
      supervisor.stop(signal);
      late ??= setTimeout(() => supervisor.stop('SIGKILL'), killMs);
    },
  };
}

/** The health server with what NVML says of all of them. */
async function watch(
  config: Config,
  choices: readonly GpuChoice[],
  workers: () => Worker[],
  closes: (() => void | Promise<void>)[],
): Promise<void> {
  const nvml = config.healthPort > 0 ? openNvml() : null;
  closes.push(() => nvml?.close());
  const gpus = () =>
    new Map(
      choices.flatMap(({ label, uuid }) => {
        const reading = nvml?.read(uuid);
        return reading ? [[label, reading] as const] : [];
      }),
    );
  await serveHealth(config, workers, gpus, closes);
}

/** This Node with this program, up to where the arguments begin. */
function ownProgram(): string[] {
  return [process.execPath, ...process.execArgv, process.argv[1] as string];
}

/** What a child is given in place of what we were. */
const own = [
  'name',
  'key-file',
  'gpu',
  'gpus',
  'health-port',
  'update-check',
  'exit-with-parent',
  'log-file',
  'progress',
  'data-max',
  'backend',
];

/** A child works one processor: same settings, but for its name, key and share of the data, and without what we do for all. */
export function childSpec(
  { label, uuid }: GpuChoice,
  count: number,
  config: Config,
  settings: readonly Setting[],
): ChildSpec {
  const name = `${labelOf(config).slice(0, labelCharsMax)}-${label}`;
  const given = new Map(settings.map((setting) => [setting.name, setting]));
  const keyFile = given.get('key-file')?.text;
  const inherited = settings.flatMap(({ name: option, text, source }) => {
    if (own.includes(option) || text === null || source === 'default') return [];
    if (specOf(option).kind.takes !== undefined || specOf(option).takes !== undefined)
      return [`--${option}=${text}`];
    return [text === 'true' || text === '1' ? `--${option}` : `--no-${option}`];
  });
  const args = [
    'run',
    ...inherited,
    ...['--name', name, '--backend', 'cuda', '--gpus', 'none'],
    ...(keyFile ? ['--key-file', `${keyFile}-${label}`] : []),
    ...(config.dataMax === null ? [] : ['--data-max', dividedCaps(parseDataMax(config.dataMax), count)]),
    ...['--health-port', '0', '--update-check', 'off', '--progress', 'off', '--exit-with-parent'],
  ];
  return {
    label,
    args,
    env: { CUDA_VISIBLE_DEVICES: uuid, CUDA_DEVICE_ORDER: 'PCI_BUS_ID', [supervisedVariable]: '1' },
  };
}
