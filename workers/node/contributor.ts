/** A headless contributor put together: keys, thread, socket, gateway, cache. `main.ts` runs it; tests and cheats may use its ports. */
import type { Signer } from '#protocol/messages/contribution.ts';
import { MemoryBlockCache } from '../runtime/block-cache.ts';
import type { BlockCache, Compute, Logger, RuntimePorts } from '../runtime/ports.ts';
import { httpBlocks } from '../transport/http-blocks.ts';
import { systemClock, systemRandom } from '../transport/platform.ts';
import { webSocketTransport } from '../transport/web-socket.ts';
import { openReplicaFiles, replicaFolder } from './replica-files.ts';
import { filePins, pinFolder } from './server-pins.ts';

export interface NodePortsOptions {
  /** The coordinator's http(s) address. */
  url: string;
  signer: Signer;
  compute: Compute;
  log: Logger;
  /** In memory unless given. */
  cache?: BlockCache;
  /** Beside it pending results are kept over restarts and the server is pinned; neither is unless given. */
  keyFile?: string;
  /** Takes the server's identity as it is now, once. */
  acceptIdentity?: boolean;
}

/** The real ports of a contributor in Node, each of which may be replaced before `createRuntime`. */
export function nodePorts({ url, signer, compute, log, cache, ...kept }: NodePortsOptions): RuntimePorts {
  return {
    transport: webSocketTransport(url, systemClock),
    source: httpBlocks(url),
    cache: cache ?? new MemoryBlockCache(),
    compute,
    signer,
    clock: systemClock,
    randomBytes: systemRandom,
    log,
    date: () => Date.now(),
    ...besideKey(url, log, kept),
  };
}

function besideKey(
  url: string,
  log: Logger,
  { keyFile, acceptIdentity: accept = false }: Pick<NodePortsOptions, 'keyFile' | 'acceptIdentity'>,
): Pick<RuntimePorts, 'replicas' | 'pins'> {
  if (keyFile === undefined) return {};
  return {
    replicas: openReplicaFiles(replicaFolder(keyFile), log),
    pins: filePins({ folder: pinFolder(keyFile), url, accept, log }),
  };
}
