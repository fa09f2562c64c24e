/**
 * Recordings of a CUDA device: kernels compile in the background from `record` on, the first `run` waits for them and makes one CUDA graph of all
 * launches; from then on a run is one launch of that graph.
 */
import { AtollError } from '#protocol/errors.ts';
import type { Recording } from '../device.ts';
import type { BoundLaunch, CudaDriver, CudaFunction, CudaGraph } from './driver.ts';
import type { CudaSource, CudaTensor, Launch } from './launch.ts';
import type { CudaMemory } from './memory.ts';

const limitsOf = { blockThreads: 1024, gridX: 2 ** 31 - 1, gridYZ: 65_535 } as const;

export class CudaRecording implements Recording {
  readonly ops: number;
  readonly launches: readonly Launch[];
  readonly functions: Promise<readonly CudaFunction[]>;
  /** Set once every kernel is there; none where there is nothing to launch. */
  graph: CudaGraph | null = null;
  ready: boolean;

  constructor(ops: number, launches: readonly Launch[], functions: Promise<readonly CudaFunction[]>) {
    this.ops = ops;
    this.launches = launches;
    this.functions = functions;
    this.ready = launches.length === 0;
  }
}

/** Kernels of a device, each asked of the driver once however many recordings use it; the driver compiles a source once for all of its kernels. */
export class Modules {
  private readonly driver: CudaDriver;
  private readonly loaded = new WeakMap<CudaSource, Map<string, Promise<Map<string, CudaFunction>>>>();

  constructor(driver: CudaDriver) {
    this.driver = driver;
  }

  /** Every function of `launches`, in their order. */
  async functions(launches: readonly Launch[]): Promise<CudaFunction[]> {
    const entries = new Map<CudaSource, Set<string>>();
    for (const { kernel } of launches) {
      const known = entries.get(kernel.source) ?? new Set();
      entries.set(kernel.source, known.add(kernel.entry));
    }
    const loads = [...entries].map(async ([source, names]) => {
      const functions = new Map<string, CudaFunction>();
      await Promise.all([...names].map(async (name) => functions.set(name, await this.one(source, name))));
      return [source, functions] as const;
    });
    const bySource = new Map(await Promise.all(loads));
    return launches.map(({ kernel }) => bySource.get(kernel.source)?.get(kernel.entry) as CudaFunction);
  }

  private async one(source: CudaSource, entry: string): Promise<CudaFunction> {
    const entries = this.loaded.get(source) ?? new Map<string, Promise<Map<string, CudaFunction>>>();
    this.loaded.set(source, entries);
    let load = entries.get(entry);
    if (!load) {
      load = this.driver.load(source, [entry]);
      entries.set(entry, load);
      // One that failed for want of memory may be asked for again.
      load.catch(() => entries.delete(entry));
    }
    const found = (await load).get(entry);
    if (found) return found;
    throw new AtollError('internal', `The CUDA source ${source.label} has no kernel ${entry}.`);
  }
}

export class CudaRecorder {
  private readonly driver: CudaDriver;
  private readonly memory: CudaMemory;
  private readonly modules: Modules;
  private readonly graphs = new Set<CudaGraph>();
  /** Runs that wait for kernels or behind one that does, and the end of the last of them. */
  private waiting = 0;
  private last: Promise<void> = Promise.resolve();

  constructor(driver: CudaDriver, memory: CudaMemory, modules: Modules) {
    this.driver = driver;
    this.memory = memory;
    this.modules = modules;
  }

  record(ops: number, all: readonly Launch[]): CudaRecording {
    this.memory.check();
    const launches = all.filter(({ grid }) => grid.every((blocks) => blocks > 0));
    for (const launch of launches) checkLaunch(launch, this.driver.info.sharedMax);
    const functions = this.modules.functions(launches);
    functions.catch(() => {}); // `run` tells
    return new CudaRecording(ops, launches, functions);
  }

  /**
   * Launches at once when the recording ran before, so that writes made after the call come after it. While an earlier run still waits for its kernels,
   * later ones wait behind it: runs happen in the order of their calls.
   */
  async run(recording: CudaRecording): Promise<void> {
    this.memory.check();
    if (this.waiting === 0 && recording.ready) this.launch(recording);
    else await this.enqueue(recording);
    await this.driver.pace?.();
  }

  private enqueue(recording: CudaRecording): Promise<void> {
    this.waiting++;
    const turn = this.last.then(async () => {
      try {
        if (!recording.ready) await this.prepare(recording);
        this.memory.check();
        this.launch(recording);
      } finally {
        this.waiting--;
      }
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  private async prepare(recording: CudaRecording): Promise<void> {
    const functions = await recording.functions;
    this.memory.check();
    recording.graph = this.instantiate(recording.launches, functions);
    recording.ready = true;
  }

  private launch({ graph }: CudaRecording): void {
    if (graph) this.driver.launch(graph);
  }

  private instantiate(launches: readonly Launch[], functions: readonly CudaFunction[]): CudaGraph {
    const bound = launches.map(({ args, grid, block, shared = 0 }, i): BoundLaunch => {
      const values = args.map((arg) =>
        arg === null ? 0n : typeof arg === 'number' ? arg : (arg as CudaTensor).address,
      );
      return { fn: functions[i] as CudaFunction, args: values, grid, block, shared };
    });
    const graph = this.driver.graph(bound);
    this.graphs.add(graph);
    return graph;
  }

  free(): void {
    for (const graph of this.graphs) graph.free();
    this.graphs.clear();
  }
}

/** What a driver would refuse, or worse would not: said at `record`, with the kernel's name. */
function checkLaunch({ kernel, args, grid, block, shared = 0 }: Launch, sharedMax: number): void {
  const [x, y, z] = grid;
  const threads = block[0] * block[1] * block[2];
  const fits =
    x <= limitsOf.gridX &&
    Math.max(y, z) <= limitsOf.gridYZ &&
    block[2] <= 64 &&
    threads > 0 &&
    threads <= limitsOf.blockThreads &&
    [...grid, ...block, shared].every(Number.isSafeInteger) &&
    shared <= sharedMax &&
    args.every(isArgument);
  if (fits) return;
  throw new AtollError('internal', `The CUDA launch of ${kernel.entry} cannot be made.`, {
    details: { grid, block, shared, sharedMax },
  });
}

function isArgument(arg: Launch['args'][number]): boolean {
  if (arg === null) return true;
  if (typeof arg === 'number') return Number.isInteger(arg) && arg >= -(2 ** 31) && arg < 2 ** 32;
  return typeof (arg as CudaTensor).address === 'bigint';
}
