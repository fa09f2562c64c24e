/**
 * The Web Worker that contributes: device, socket, downloads, hashing and signing all happen here, so the page stays free to draw. Started
 * by `start.ts` on the visitor's click and never before.
 */
import * as Comlink from 'comlink';
import type { Hex } from 'viem';
import { AtollError } from '#protocol/errors.ts';
import type { Signer } from '#protocol/messages/contribution.ts';
import { limits } from '#protocol/limits.ts';
import type { AddressChoice } from '../p2p/libp2p/reach.ts';
import { exchanging } from '../p2p/swarm-member.ts';
import { createRuntime } from '../runtime/contributor.ts';
import { kernelCompute, type KernelBackend } from '../runtime/kernel-compute.ts';
import type { Logger, RuntimePorts } from '../runtime/ports.ts';
import type { ContributorControl, ContributorView } from '../runtime/view.ts';
import { KeptBlockCache } from '../storage/kept-cache.ts';
import { openRemoteShelf } from '../storage/remote-shelf.ts';
import { httpBlocks } from '../transport/http-blocks.ts';
import { systemClock, systemRandom } from '../transport/platform.ts';
import { webSocketTransport } from '../transport/web-socket.ts';
import { type ToPage, type ToWorker, wireOf } from './link-messages.ts';
import { RemoteTransport } from './remote-links.ts';
import { loadSigner } from './key-store.ts';
import { storedTuning } from './tuning-store.ts';

export interface WorkerOptions {
  /** The coordinator's http(s) address. */
  url: string;
  backend: KernelBackend;
  allowSoftware: boolean;
  /** Threads of a WASM device, where the page is cross-origin isolated. */
  threads: number;
  peers: 'off' | 'relay-only' | 'direct';
}

const notice =
  'This browser refuses storage, so the key of this tab, and with it the name under which credit is booked, is gone when the tab closes.';

/** Chromium hangs both threads, for good, when a worker is terminated while one that it started is still ending; no event tells of that end. */
const nestedEndMs = 200;

let control: ContributorControl | null = null;
let cache: KeptBlockCache | null = null;

const api = {
  /** Makes the contributor and starts it. Views go to `onView`, beginning with the present one. */
  async start(
    options: WorkerOptions,
    onView: (view: ContributorView) => unknown,
    port: MessagePort,
  ): Promise<void> {
    const { url, backend, allowSoftware, threads, peers } = options;
    const [{ signer, isKept }, shelf] = await Promise.all([
      loadSigner(),
      openRemoteShelf(limits.keptBytesMax),
    ]);
    cache = new KeptBlockCache(shelf);
    const alone: RuntimePorts = {
      transport: webSocketTransport(url, systemClock),
      source: httpBlocks(url),
      cache,
      compute: kernelCompute(
        backend,
        { allowSoftware, threads, gpu: pageGpu, tuning: storedTuning(tell) },
        memoryOfMachine(),
      ),
      signer,
      clock: systemClock,
      randomBytes: systemRandom,
      log: consoleLogger,
    };
    const ports = peers === 'off' ? alone : exchanging(alone, openLinks(port, url, signer, peers));
    control = isKept ? createRuntime(ports) : createRuntime(ports, notice);
    await control.start();
    await control.subscribe((view) => void onView(view));
  },
  pause: async () => control?.pause(),
  resume: async () => control?.resume(),
  stop: async () => {
    await control?.stop();
    await cache?.close();
    await new Promise<void>((resolve) => setTimeout(resolve, nestedEndMs)); // the storage's, and threads of WebAssembly
  },
  forgetBlocks: async () => control?.forgetBlocks(),
};
export type WorkerApi = typeof api;

/** Links are made on the page's thread and carried here. */
function openLinks(port: MessagePort, url: string, signer: Signer, choice: AddressChoice) {
  const wire = wireOf<ToPage, ToWorker>(port);
  let remote: RemoteTransport | null = null;
  wire.listen((message) => remote?.hear(message));
  return async (network: Hex) => (remote = new RemoteTransport(wire, { url, network, signer, choice }));
}

/** Chromium tells, in steps and up to 8 GiB; others do not. */
function memoryOfMachine(): number | undefined {
  const { deviceMemory } = navigator as { deviceMemory?: number };
  return deviceMemory === undefined ? undefined : deviceMemory * 2 ** 30;
}

async function pageGpu(): Promise<GPU> {
  if (navigator.gpu) return navigator.gpu;
  throw new AtollError(
    'no_device',
    'This browser does not offer WebGPU here. Use Chrome or Edge 113 or newer (121 on Android; on Linux 144 with Intel and 147 with NVIDIA graphics), ' +
      'Safari 26 or newer, or Firefox 141 on Windows and 145 on Apple silicon.',
  );
}

const consoleLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: (fields, message) => console.warn(`Atoll: ${message}`, fields),
  error: (fields, message) => console.error(`Atoll: ${message}`, fields),
};

const tell = (error: unknown) =>
  consoleLogger.warn(
    { error },
    'The GPU could not be tuned, or its tuning not be stored: it is tried again at each start.',
  );

Comlink.expose(api);
