/**
 * The public entry of `workers/` for pages. Making a contributor does nothing; `start()` loads and starts the worker, and only then is there a
 * connection, an adapter request or a key.
 */
import * as Comlink from 'comlink';
import { AtollError, type Problem, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { ContributorControl, ContributorView } from '../runtime/view.ts';
import type { OpenOptions } from '../p2p/libp2p/options.ts';
import type { MemberTransport } from '../p2p/swarm-member.ts';
import { httpIce } from '../transport/http-ice.ts';
import type { WorkerApi } from './contributor.worker.ts';
import { hostLinks } from './link-host.ts';
import { wireOf } from './link-messages.ts';
import { deleteKept } from './kept-folder.ts';

export interface ContributorOptions {
  /** The coordinator's http(s) address, such as `location.origin`. */
  url: string;
  /** Accept a software adapter (SwiftShader): for tests. */
  allowSoftware?: boolean;
  /** `auto` unless given: WebGPU on real hardware, else WebAssembly. One that is named is never replaced. */
  backend?: 'auto' | 'webgpu' | 'wasm' | 'reference';
  /** Threads of WebAssembly, where the page is cross-origin isolated; half the cores unless given, since this is somebody's machine. */
  threads?: number;
  /** How blocks may come from other contributors; `off` unless given. `relay-only` tells nobody this device's address, and needs the coordinator to have a TURN server. */
  peers?: PeerChoice;
}

export type PeerChoice = 'off' | 'relay-only' | 'direct';

export function createContributor(options: ContributorOptions): ContributorControl {
  return new PageContributor(options);
}

/** A worker that is running. Comlink drops calls in flight when its proxy is collected, so the proxy is held here. */
interface Live {
  worker: Worker;
  remote: Comlink.Remote<WorkerApi>;
  /** Rejects when the worker cannot go on. */
  broken: Promise<never>;
  /** Resolves when the worker was ended here, with whatever was in flight. */
  ended: PromiseWithResolvers<void>;
  /** Links to other contributors, which live on this thread. */
  links: { stop: () => Promise<void> };
  /** The worker's end of them. */
  port: MessagePort;
}

const stoppedView: ContributorView = {
  phase: 'stopped',
  reason: 'Nothing runs until you start it.',
  problem: null,
  contributor: null,
  device: null,
  unit: null,
  pending: 0,
  agreed: 0,
  rejected: 0,
  credit: 0,
  bytesDown: 0,
  bytesUp: 0,
};

class PageContributor implements ContributorControl {
  readonly #options: ContributorOptions;
  readonly #listeners = new Set<(view: ContributorView) => void>();
  #view = stoppedView;
  #live: Live | null = null;

  constructor(options: ContributorOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    if (this.#live && this.#view.phase !== 'failed') return;
    if (this.#live) await this.stop();
    if (!isSecureContext) return this.#fail(null, toProblem(insecure()));
    this.#show({ ...this.#view, phase: 'starting', reason: 'Loading the contributor.', problem: null });
    const live = startWorker();
    this.#live = live;
    const { url, backend = 'auto', allowSoftware = false, threads = politeThreads() } = this.#options;
    const { peers = 'off' } = this.#options;
    const port = Comlink.transfer(live.port, [live.port]);
    const onView = Comlink.proxy((view: ContributorView) => {
      if (this.#live === live) this.#show(view);
    });
    try {
      await answer(live, live.remote.start({ url, backend, allowSoftware, threads, peers }, onView, port));
    } catch (error) {
      this.#fail(live, toProblem(error));
    }
    live.broken.catch((error: unknown) => this.#fail(live, toProblem(error))); // or breaks later
  }

  async pause(): Promise<void> {
    if (this.#live) await answer(this.#live, this.#live.remote.pause());
  }

  async resume(): Promise<void> {
    if (this.#live) await answer(this.#live, this.#live.remote.resume());
  }

  async stop(): Promise<void> {
    const live = this.#live;
    if (!live) return;
    this.#live = null;
    this.#show({
      ...this.#view,
      phase: 'stopped',
      reason: stoppedView.reason,
      problem: null,
      unit: null,
      pending: 0,
    });
    await retire(live);
  }

  async subscribe(onView: (view: ContributorView) => void): Promise<void> {
    this.#listeners.add(onView);
    onView(this.#view);
  }

  async forgetBlocks(): Promise<void> {
    if (this.#live) return answer(this.#live, this.#live.remote.forgetBlocks());
    await deleteKept();
    const { kept } = this.#view;
    if (kept) this.#show({ ...this.#view, kept: { ...kept, heldBytes: 0 } });
  }

  #show(view: ContributorView): void {
    this.#view = view;
    for (const listener of this.#listeners) listener(view);
  }

  #fail(live: Live | null, problem: Problem): void {
    if (this.#live !== live) return;
    if (live) void retire(live);
    this.#live = null;
    this.#show({ ...this.#view, phase: 'failed', reason: problem.detail, problem, unit: null });
  }
}

/** What the browser calls cores are mostly two threads of one: half of them computes nearly as fast and leaves the machine usable. */
function politeThreads(): number {
  return Math.max(1, Math.min(8, Math.floor(navigator.hardwareConcurrency / 2)));
}

function startWorker(): Live {
  const worker = new Worker(new URL('./contributor.worker.ts', import.meta.url), { type: 'module' });
  const broken = new Promise<never>((_, reject) => {
    worker.addEventListener('error', (event) => reject(brokenError(event.message)));
    worker.addEventListener('messageerror', () => reject(brokenError('')));
  });
  broken.catch(() => {}); // heard by whoever waits
  const { port1, port2: port } = new MessageChannel();
  const links = hostLinks(wireOf(port1), openLinks);
  const ended = Promise.withResolvers<void>();
  return { worker, remote: Comlink.wrap<WorkerApi>(worker), broken, ended, links, port };
}

/** A worker that breaks or is ended never answers. */
async function answer(live: Live, call: Promise<void>): Promise<void> {
  await Promise.race([call, live.broken, live.ended.promise]);
}

/** libp2p is loaded where there is something to connect to, and nowhere else. */
async function openLinks(options: OpenOptions): Promise<MemberTransport> {
  const { relay, canRelay } = await httpIce(options.url)(AbortSignal.timeout(limits.connectMsMax));
  if (relay === null) throw new AtollError('unavailable', 'Here, blocks come from the coordinator alone.');
  if (options.choice === 'relay-only' && !canRelay) {
    throw new AtollError(
      'unavailable',
      'Blocks come from the coordinator alone: it has no server that would hide your address from others.',
    );
  }
  const { openPageTransport } = await import('./p2p-transport.ts');
  return openPageTransport(options);
}

/** Lets the worker end what it started, then ends it. One that broke is ended at once. */
async function retire(live: Live): Promise<void> {
  const enough = Promise.withResolvers<void>();
  const timer = setTimeout(enough.resolve, 2 * limits.stopMsMax);
  await Promise.race([answer(live, live.remote.stop()), enough.promise]).catch(() => {});
  clearTimeout(timer);
  end(live);
}

function end({ worker, remote, ended, links }: Live): void {
  ended.resolve();
  void links.stop();
  remote[Comlink.releaseProxy]();
  worker.terminate();
}

function insecure(): AtollError {
  return new AtollError(
    'no_device',
    'Browsers allow graphics processors and hashing on secure pages only. Open this page over https, or on localhost.',
  );
}

function brokenError(message: string): AtollError {
  const what = message
    ? `The contributor's worker failed: ${message}.`
    : "The contributor's worker could not be loaded.";
  return new AtollError('unavailable', `${what} Reload the page; a content blocker may also be in the way.`);
}
