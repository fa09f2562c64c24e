/**
 * Prometheus metrics of the contributors of one process: itself, or the processes it supervises. Read when asked for; nothing is kept between.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { ContributorView } from '../../runtime/view.ts';
import { type Meter, phases, readiness } from './meter.ts';
import type { GpuReading } from './nvml.ts';

/** One contributor. */
export interface Worker {
  /** Its name; no address and no key. */
  label: string;
  meter: Meter;
  /** Who holds it back. */
  held: readonly string[];
  /** How often it was started again by the process that asks. */
  restarts: number;
}

export interface MetricSources {
  version: string;
  workers: () => readonly Worker[];
  /** By label; empty where nothing can be read. */
  gpus: () => ReadonlyMap<string, GpuReading>;
}

type Each = (set: (labels: Record<string, string>, value: number) => void) => void;

interface Makers {
  gauge: Make;
  counter: Make;
}
type Make = (name: string, help: string, labelNames: string[], each: Each) => void;

export function nodeMetrics({ version, workers, gpus }: MetricSources): Registry {
  const registry = new Registry();
  const makers = makersOf(registry);
  makers.gauge('atoll_node_info', 'This program; always 1.', ['version'], (set) => set({ version }, 1));
  stateMetrics(makers, workers);
  workMetrics(makers, workers);
  gpuGauges(makers.gauge, gpus);
  return registry;
}

function makersOf(registry: Registry): Makers {
  const registers = [registry];
  return {
    gauge: (name, help, labelNames, each) =>
      void new Gauge({
        ...{ name, help, labelNames, registers },
        collect() {
          this.reset();
          each((labels, value) => this.set(labels, value));
        },
      }),
    counter: (name, help, labelNames, each) =>
      void new Counter({
        ...{ name, help, labelNames, registers },
        collect() {
          this.reset();
          each((labels, value) => this.inc(labels, value));
        },
      }),
  };
}

type Workers = MetricSources['workers'];
const w = ['worker'];

/** One value a contributor. */
const perWorker =
  (workers: Workers, value: (worker: Worker) => number): Each =>
  (set) =>
    workers().forEach((worker) => set({ worker: worker.label }, value(worker)));

/** How the contributors stand. */
function stateMetrics({ gauge }: Makers, workers: Workers): void {
  const of = (value: (worker: Worker) => number) => perWorker(workers, value);
  const viewed = (value: (view: ContributorView) => number) =>
    of(({ meter }) => (meter.view ? value(meter.view) : 0));
  gauge(
    'atoll_node_ready',
    'Whether the device is open and conforming, and the coordinator connected.',
    w,
    of(({ meter }) => Number(readiness(meter.view).ready)),
  );
  gauge(
    'atoll_node_phase',
    'What a contributor is at: 1 for one phase, 0 for the others.',
    ['worker', 'phase'],
    (set) => {
      for (const { label, meter } of workers()) {
        for (const phase of phases)
          set({ worker: label, phase }, Number((meter.view?.phase ?? 'stopped') === phase));
      }
    },
  );
  gauge(
    'atoll_node_held',
    'Who holds a contributor back: operator, schedule, duty, power or data.',
    ['worker', 'by'],
    (set) => workers().forEach(({ label, held }) => held.forEach((by) => set({ worker: label, by }, 1))),
  );
  gauge(
    'atoll_node_credit',
    'Credit of the account.',
    w,
    viewed(({ credit }) => credit),
  );
  gauge(
    'atoll_node_pending',
    'Units computed and committed whose verdict is not in yet.',
    w,
    viewed(({ pending }) => pending),
  );
  gauge(
    'atoll_node_unit_progress_ratio',
    'How much of the unit in hand is done, 0 to 1.',
    w,
    viewed(({ unit }) => (unit && unit.total > 0 ? unit.done / unit.total : 0)),
  );
}

/** What they have done, and what it took. */
function workMetrics({ gauge, counter }: Makers, workers: Workers): void {
  const of = (value: (worker: Worker) => number) => perWorker(workers, value);
  counter(
    'atoll_node_units_total',
    'Units of this process by how they ended.',
    ['worker', 'outcome'],
    (set) =>
      workers().forEach(({ label, meter: { agreed, rejected } }) => {
        set({ worker: label, outcome: 'agreed' }, agreed);
        set({ worker: label, outcome: 'rejected' }, rejected);
      }),
  );
  counter(
    'atoll_node_computing_seconds_total',
    'Time spent computing.',
    w,
    of(({ meter }) => meter.computingSeconds),
  );
  counter(
    'atoll_node_reconnects_total',
    'Connections to the coordinator after the first.',
    w,
    of(({ meter }) => meter.reconnects),
  );
  counter(
    'atoll_node_restarts_total',
    'Processes that were started again.',
    w,
    of(({ restarts }) => restarts),
  );
  counter(
    'atoll_node_bytes_total',
    'Bytes over the network: frames and blocks with the coordinator, and blocks with peers.',
    ['worker', 'direction', 'with'],
    (set) =>
      workers().forEach(({ label, meter }) => {
        for (const [direction, other, bytes] of bytesOf(meter.view))
          set({ worker: label, direction, with: other }, bytes);
      }),
  );
  gauge(
    'atoll_node_peers',
    'Other contributors connected, by how they are reached.',
    ['worker', 'link'],
    (set) =>
      workers().forEach(({ label, meter }) => {
        set({ worker: label, link: 'direct' }, meter.view?.swarm?.direct ?? 0);
        set({ worker: label, link: 'relayed' }, meter.view?.swarm?.relayed ?? 0);
      }),
  );
  gauge('atoll_node_resident_bytes', 'Memory of this process.', [], (set) =>
    set({}, process.memoryUsage.rss()),
  );
}

function gpuGauges(gauge: Make, gpus: MetricSources['gpus']): void {
  const of =
    (value: (reading: GpuReading) => number | null): Each =>
    (set) => {
      for (const [gpu, reading] of gpus()) {
        const read = value(reading);
        if (read !== null) set({ gpu }, read);
      }
    };
  gauge(
    'atoll_gpu_power_watts',
    'What a graphics processor draws now.',
    ['gpu'],
    of(({ watts }) => watts),
  );
  gauge(
    'atoll_gpu_busy_ratio',
    'Share of the last moments in which anything ran on it, 0 to 1.',
    ['gpu'],
    of(({ busy }) => busy),
  );
  gauge(
    'atoll_gpu_memory_used_bytes',
    'Its memory in use, by anybody.',
    ['gpu'],
    of(({ memoryUsedBytes }) => memoryUsedBytes),
  );
  gauge(
    'atoll_gpu_memory_total_bytes',
    'Its memory.',
    ['gpu'],
    of(({ memoryTotalBytes }) => memoryTotalBytes),
  );
  gauge(
    'atoll_gpu_temperature_celsius',
    'Its temperature.',
    ['gpu'],
    of(({ celsius }) => celsius),
  );
}

function bytesOf(view: ContributorView | null): [string, string, number][] {
  const swarm = view?.swarm;
  const down = view?.bytesDown ?? 0;
  const blocks = view?.blockBytesDown ?? 0;
  // What the exchange fetched ahead is in its count alone.
  const origin = swarm ? Math.max(swarm.originBytes, blocks - swarm.peerBytes) : blocks;
  return [
    ['down', 'coordinator', down - blocks + Math.max(0, origin)],
    ['down', 'peers', swarm?.peerBytes ?? 0],
    ['up', 'coordinator', view?.bytesUp ?? 0],
    ['up', 'peers', swarm?.servedBytes ?? 0],
  ];
}
