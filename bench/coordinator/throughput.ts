/** Lease + commit + reveal cycles a second, as fast as a few hundred contributors can go; and what 10,000 held connections cost. */
import { percentile } from './numbers.ts';
import { Rig, sleep, withFolder } from './rig.ts';

export interface Throughput {
  /** Reveals acknowledged a second, each with its lease and its signed commit before; one for each window. */
  cyclesPerSecond: number[];
  cyclesPerServerCpuSecond: number;
  cyclesPerLoadCpuSecond: number;
  problems: Record<string, number>;
}

export interface ThroughputOptions {
  databaseUrl?: string;
  servers?: number;
  contributors: number;
  units: number;
  windows: number;
  windowMs: number;
}

/** An engine compiles hot code in the first ten seconds or so. */
const warmUpMs = 12_000;
const settleMs = 3_000;

export function measureThroughput({
  contributors,
  windows,
  windowMs,
  ...options
}: ThroughputOptions): Promise<Throughput> {
  return withFolder(async (dataDir) => {
    const rig = await Rig.open({ dataDir, ...options });
    try {
      await rig.load({ contributors, eager: true });
      await sleep(warmUpMs);
      const [first, firstUsage] = [await rig.report(), await rig.usage()];
      const cyclesPerSecond: number[] = [];
      let last = { reveals: first.reveals, at: performance.now() };
      let report = first;
      for (let i = 0; i < windows; i++) {
        await sleep(windowMs);
        report = await rig.report();
        const at = performance.now();
        cyclesPerSecond.push(((report.reveals - last.reveals) / (at - last.at)) * 1000);
        last = { reveals: report.reveals, at };
      }
      const usage = await rig.usage();
      const cycles = report.reveals - first.reveals;
      return {
        cyclesPerSecond,
        cyclesPerServerCpuSecond: cycles / (usage.cpuSeconds - firstUsage.cpuSeconds),
        cyclesPerLoadCpuSecond: cycles / (report.cpuSeconds - first.cpuSeconds),
        problems: report.problems,
      };
    } finally {
      await rig.close();
    }
  });
}

export interface Sockets {
  /** Of the coordinator's resident memory, and of its heap after a collection. */
  residentBytesEach: number;
  heapBytesEach: number;
  leaseMsMedian: number;
  leaseMs99: number;
  /** Leases given and committed a second. Reveals wait for others of a crowd that spreads over a long queue. */
  commitsPerSecond: number;
}

export interface SocketsOptions {
  contributors: number;
  perSecond: number;
  seconds: number;
}

export function measureSockets({ contributors, perSecond, seconds }: SocketsOptions): Promise<Sockets> {
  return withFolder(async (dataDir) => {
    const rig = await Rig.open({ dataDir, units: perSecond * (seconds + 10) });
    try {
      const before = await rig.usage();
      await rig.load({ contributors, eager: false });
      await sleep(settleMs);
      const after = await rig.usage();
      await rig.pace(perSecond);
      await sleep(settleMs);
      const first = await rig.report();
      await sleep(seconds * 1000);
      const last = await rig.report();
      return {
        residentBytesEach: (after.residentBytes - before.residentBytes) / contributors,
        heapBytesEach: (after.heapBytes - before.heapBytes) / contributors,
        leaseMsMedian: percentile(last.leaseMs, 0.5),
        leaseMs99: percentile(last.leaseMs, 0.99),
        commitsPerSecond: (last.commits - first.commits) / seconds,
      };
    } finally {
      await rig.close();
    }
  });
}
