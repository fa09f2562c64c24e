/**
 * Everything around a contributor that an operator set: schedule, caps, health server, progress line, update check. The run command calls this once, between
 * making the control and starting it; what is not asked for is not loaded.
 */
import path from 'node:path';
import type pino from 'pino';
import { AtollError } from '#protocol/errors.ts';
import type { ContributorControl, ContributorView } from '../../runtime/view.ts';
import { systemClock, systemRandom } from '../../transport/platform.ts';
import { type Config, labelOf } from '../config.ts';
import { createGate, type Gate } from './gate.ts';
import { Meter } from './meter.ts';
import type { Worker } from './metrics.ts';
import type { GpuReading, Nvml } from './nvml.ts';
import type { Progress } from './progress.ts';
import type { SupervisorMessage } from './supervisor.ts';
import { version } from '../version.ts';

export interface OperateOptions {
  config: Config;
  control: ContributorControl;
  log: pino.Logger;
  progress: Progress | null;
}

export interface Operations {
  /** The way to pause and resume: `hold('operator', ...)` and `letGo('operator')`. */
  gate: Gate;
  /** Of the health server; null without one. */
  healthPort: number | null;
  /** From here on nothing pauses, resumes or reports any more. */
  close(): Promise<void>;
}

type Close = () => void | Promise<void>;
/** Of the parent, to a child process that it supervises. */
export const supervisedVariable = 'ATOLL_SUPERVISED';

/** Throws `bad_config` and `port_busy` before anything is started. */
export async function operate({ config, control, log, progress }: OperateOptions): Promise<Operations> {
  const closes: Close[] = [];
  const label = labelOf(config);
  const meter = new Meter(() => systemClock.now());
  const gate = await createGate(control, systemClock, (held) => {
    if (held.size > 0) log.debug({ held: [...held.keys()] }, [...held.values()].join(' '));
  });
  closes.push(() => gate.close());
  const heldNow = () => [...gate.held.values()];
  await control.subscribe((view) => {
    meter.seen(view);
    progress?.show([{ label, view, held: heldNow() }]);
  });
  const close = async () => {
    for (const step of closes.reverse()) await step();
  };
  try {
    await followSupervisor(gate, control);
    // Indices then mean the same to CUDA as to everybody else.
    process.env['CUDA_DEVICE_ORDER'] ??= 'PCI_BUS_ID';
    const nvml = config.powerMax !== null || config.healthPort > 0 ? await nvmlFor(config, closes) : null;
    const worker = (): Worker => ({ label, meter, held: [...gate.held.keys()], restarts: 0 });
    const healthPort = await serveHealth(
      config,
      () => [worker()],
      () => readingOf(nvml, config, label),
      closes,
    );
    if (healthPort !== null) log.info({ healthPort }, 'Health and metrics are served.');
    await keepCaps(config, gate, control, log, nvml, closes);
    closes.push(await watchUpdates(config, log));
    return { gate, healthPort, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Schedule, duty, power and data. */
async function keepCaps(
  config: Config,
  gate: Gate,
  control: ContributorControl,
  log: pino.Logger,
  nvml: Nvml | null,
  closes: Close[],
): Promise<void> {
  const ports = { clock: systemClock, now: () => new Date(), log };
  if (config.schedule !== null) {
    const { followSchedule, parseSchedule } = await import('./schedule.ts');
    closes.push(followSchedule(gate, parseSchedule(config.schedule), ports));
  }
  if (config.duty < 100) {
    const { followDuty } = await import('./rest.ts');
    closes.push(await followDuty(gate, control, config.duty, systemClock));
  }
  if (config.powerMax !== null && nvml) {
    const { followPower } = await import('./rest.ts');
    const readWatts = () => nvml.read(gpuOf(config))?.watts ?? null;
    closes.push(followPower(gate, config.powerMax, { readWatts, clock: systemClock, log }));
  }
  if (config.dataMax !== null) {
    const { followDataCaps, parseDataMax } = await import('./data-cap.ts');
    const file = path.join(config.dataDir, `${labelOf(config)}.traffic.json`);
    closes.push(await followDataCaps(gate, control, parseDataMax(config.dataMax), { ...ports, file }));
  }
}

/** Null where there is none and nobody insists. Throws `bad_config` where a cap on power could not be kept. */
async function nvmlFor(config: Config, closes: Close[]): Promise<Nvml | null> {
  if (config.powerMax !== null && (config.backend === 'wasm' || config.backend === 'reference')) {
    const words = `--power-max is about a graphics processor, and --backend ${config.backend} computes on none. Use --duty PERCENT.`;
    throw new AtollError('bad_config', words);
  }
  const { openNvml } = await import('./nvml.ts');
  const nvml = openNvml();
  closes.push(() => nvml?.close());
  if (config.powerMax === null) return nvml;
  if ((nvml?.read(gpuOf(config))?.watts ?? null) !== null) return nvml;
  throw new AtollError(
    'bad_config',
    "--power-max: the power of the graphics processor cannot be read here (it takes NVIDIA's driver and a card that tells). Use --duty PERCENT.",
  );
}

/** The processor of this process, by UUID or index. */
export function gpuOf({ gpu }: Pick<Config, 'gpu'>, env: NodeJS.ProcessEnv = process.env): string {
  return gpu ?? (env['CUDA_VISIBLE_DEVICES']?.split(',')[0]?.trim() || '0');
}

function readingOf(nvml: Nvml | null, config: Config, label: string): ReadonlyMap<string, GpuReading> {
  const reading = nvml?.read(gpuOf(config));
  return new Map(reading ? [[label, reading]] : []);
}

/** The port, or null where none is wanted. Throws `port_busy`. */
export async function serveHealth(
  { healthPort }: Pick<Config, 'healthPort'>,
  workers: () => readonly Worker[],
  gpus: () => ReadonlyMap<string, GpuReading>,
  closes: Close[],
): Promise<number | null> {
  if (healthPort === 0) return null;
  const [{ startHealth }, { nodeMetrics }] = await Promise.all([
    import('./health.ts'),
    import('./metrics.ts'),
  ]);
  const registry = nodeMetrics({ version, workers, gpus });
  const metrics = async () => ({ type: registry.contentType, text: await registry.metrics() });
  const health = await startHealth({ port: healthPort, workers, metrics });
  closes.push(() => health.close());
  return health.port;
}

export async function watchUpdates({ updateCheck, url }: Config, log: pino.Logger): Promise<Close> {
  if (!updateCheck) return () => {};
  const { watchForUpdates } = await import('./update-check.ts');
  const ports = { clock: systemClock, randomBytes: systemRandom, log, fetch: globalThis.fetch };
  return watchForUpdates({ url, version, ...ports });
}

/** As a child of `superviseGpus`: views go to the parent, and its word is the operator's. */
async function followSupervisor(gate: Gate, control: ContributorControl): Promise<void> {
  if (!process.env[supervisedVariable] || !process.send) return;
  process.on('message', (message: SupervisorMessage) => {
    if (message.t === 'pause') gate.hold('operator', 'Paused by the operator.', { graceMs: 0 });
    if (message.t === 'resume') gate.letGo('operator');
  });
  process.channel?.unref(); // listening holds the process otherwise
  await control.subscribe((view: ContributorView) => {
    if (process.connected) process.send?.({ t: 'view', view, held: [...gate.held.keys()] }, () => undefined);
  });
}
