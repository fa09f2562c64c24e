/**
 * A conformance run in the page: which backends, one after the other, each in a worker that is behind the function passed in. Nothing is asked of the browser
 * before `run()`.
 */
import {
  type BackendReport,
  byOp,
  type CaseOutcome,
  type Column,
  type HostMessage,
  type HostOptions,
  type OpSummary,
} from '#workers/browser/conformance.ts';

export interface Choice {
  id: string;
  title: string;
  options: HostOptions;
  /** Why it cannot be chosen here. */
  lack: string | null;
}

/** What a browser may have, told without asking it for anything. */
export interface BrowserTraits {
  hasGpu: boolean;
  hasSimd: boolean;
  isIsolated: boolean;
  cores: number;
}

export function choicesOf({ hasGpu, hasSimd, isIsolated, cores }: BrowserTraits): Choice[] {
  const threads = Math.max(2, Math.min(8, cores));
  const noSimd = hasSimd ? null : 'This browser has no WebAssembly SIMD.';
  const noThreads = isIsolated ? null : 'The page is not cross-origin isolated.';
  const wasm = { backend: 'wasm' } as const;
  return [
    { id: 'wasm', title: 'WebAssembly', options: wasm, lack: noSimd },
    {
      id: 'wasm-threads',
      title: `WebAssembly, ${threads} threads`,
      options: { ...wasm, threads },
      lack: noSimd ?? noThreads,
    },
    {
      id: 'webgpu',
      title: 'WebGPU',
      options: { backend: 'webgpu' },
      lack: hasGpu ? null : 'This browser has no WebGPU.',
    },
    { id: 'reference', title: 'TypeScript reference', options: { backend: 'reference' }, lack: null },
  ];
}

export type Stage = 'waiting' | 'running' | 'done' | 'absent' | 'failed' | 'stopped';

/** One backend of a run. */
export class Examined {
  readonly id: string;
  readonly title: string;
  readonly options: HostOptions;
  stage = $state<Stage>('waiting');
  done = $state(0);
  total = $state(0);
  outcomes = $state.raw<readonly CaseOutcome[]>([]);
  report = $state.raw<BackendReport | null>(null);
  /** Why there is no report. */
  reason = $state('');
  /** Outcomes by op, as far as it is. */
  readonly ops: ReadonlyMap<string, OpSummary> = $derived(
    new Map(byOp(this.outcomes).map((summary) => [summary.op, summary])),
  );
  readonly failures: number = $derived(this.outcomes.filter((outcome) => !outcome.same).length);

  constructor({ id, title, options }: Pick<Choice, 'id' | 'title' | 'options'>) {
    this.id = id;
    this.title = title;
    this.options = options;
  }

  get column(): Column {
    const { id, title, report } = this;
    return report ? { id, title, report } : { id, title, absent: this.reason || 'It was stopped.' };
  }
}

export interface ConformancePorts {
  examine: (options: HostOptions, onMessage: (message: HostMessage) => void) => () => void;
}

/** Progress is shown at most this often, in cases: drawing must not slow what is drawn. */
const drawEvery = 8;

export class ConformanceState {
  examined = $state.raw<readonly Examined[]>([]);
  running = $state(false);
  /** Every op that any backend has come to, in the suite's order. */
  readonly ops: readonly string[] = $derived([
    ...new Set(this.examined.flatMap(({ ops }) => [...ops.keys()])),
  ]);
  readonly #ports: ConformancePorts;
  #end: (() => void) | null = null;

  constructor(ports: ConformancePorts) {
    this.#ports = ports;
  }

  /** Examines them in order; resolves when all are through or `stop` was called. */
  async run(choices: readonly Choice[], allowSoftware: boolean): Promise<void> {
    if (this.running) return;
    this.running = true;
    this.examined = choices.map(
      ({ id, title, options }) => new Examined({ id, title, options: { ...options, allowSoftware } }),
    );
    for (const each of this.examined) if (this.running) await this.#examine(each);
    this.running = false;
  }

  stop(): void {
    this.running = false;
    for (const each of this.examined) {
      if (each.stage === 'waiting' || each.stage === 'running') each.stage = 'stopped';
    }
    this.#end?.();
  }

  #examine(each: Examined): Promise<void> {
    each.stage = 'running';
    return new Promise((resolve) => {
      const outcomes: CaseOutcome[] = [];
      const close = this.#ports.examine({ ...each.options }, (message) => {
        if (message.kind === 'progress') {
          outcomes.push(message.outcome);
          if (message.done % drawEvery !== 0 && message.outcome.same) return;
          each.done = message.done;
          each.total = message.total;
          each.outcomes = [...outcomes];
          return;
        }
        settle(each, message);
        this.#end?.();
      });
      this.#end = () => {
        this.#end = null;
        close();
        resolve();
      };
    });
  }
}

function settle(each: Examined, message: Exclude<HostMessage, { kind: 'progress' }>): void {
  if (message.kind === 'report') {
    each.stage = 'done';
    each.report = message.report;
    each.outcomes = message.report.outcomes;
    each.done = each.total = message.report.outcomes.length;
    return;
  }
  each.stage = message.kind === 'absent' ? 'absent' : 'failed';
  each.reason = message.reason;
}
