/**
 * The coordinator as one object: opens what it keeps its state in, starts the service, serves HTTP and WebSocket on one port. The public entry of
 * this part.
 */
import type { IncomingMessage } from 'node:http';
import type { Cid } from '#protocol/codec/cid.ts';
import type { JobStatus, NetworkInfo, RoundSummary } from '#protocol/http/api.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { Hex } from 'viem';
import type { Anchor } from './anchor/port.ts';
import { openIdentity, type ServerIdentity } from './identity.ts';
import type { ApiKeys } from './routes/api-keys.ts';
import { noIce, openP2p, type P2p, type P2pOptions } from './p2p/p2p.ts';
import { type KuboOptions, pinAtKubo } from './pinning/kubo.ts';
import { Pinner } from './pinning/pinner.ts';
import { type Door, openDoor } from './routes/door.ts';
import { createHttpSide, type HttpOptions } from './routes/http-side.ts';
import { roundsOfJob } from './routes/job-routes.ts';
import { addressToCount, clientAddress } from './routes/rate-limit.ts';
import { Directory } from './service/directory.ts';
import { EventHub } from './service/events.ts';
import { Metrics } from './service/metrics.ts';
import {
  type Clock,
  defaultTiming,
  silentLogger,
  systemClock,
  systemRandom,
  type Timing,
} from './service/ports.ts';
import { type InitialCheckpoint, type JobOptions, Service } from './service/service.ts';
import { startCollecting } from './storage/collector.ts';
import { openStores, type StoreOptions, type Stores } from './stores.ts';
import { version } from './version.ts';

export interface CoordinatorOptions extends HttpOptions, StoreOptions {
  /** 0 takes any free port. */
  port: number;
  anchor?: Anchor | null;
  /** `initialCheckpoint` of kernels/model/init.ts. */
  initialCheckpoint: InitialCheckpoint;
  /** Digest that a device's conformance probe must have; any is taken unless given. */
  probe?: Hex;
  /** Lets contributors find each other; they do not unless given. */
  p2p?: P2pOptions | null;
  /** Rounds in all, for jobs that say nothing else. */
  stopAfterRounds?: number;
  timing?: Partial<Timing>;
  /** The key that contributors know the coordinator by; the database has one of its own unless given. */
  identityKey?: Hex | null;
  /** An IPFS node that checkpoints are pinned at as rounds close. */
  pinning?: KuboOptions | null;
  onRound?: (job: Cid, summary: RoundSummary) => void;
  onAnchor?: (job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>) => void;
}

export interface Coordinator {
  /** `http://host:port`. */
  readonly url: string;
  readonly port: number;
  /** Asks over HTTP without a socket: for tools in the same process. */
  fetch(request: Request): Promise<Response>;
  readonly network: Hex;
  /** What contributors know it by: the address of its key. */
  readonly identity: Hex;
  /** The stored blocks, accepted or not: for tools in the same process. */
  readonly blocks: BlockStore;
  /** API keys, to be made by whoever runs the coordinator. */
  readonly keys: ApiKeys;
  /** Makes sure a job is being worked on; see `JobOptions`. Throws `bad_input`. */
  ensureJob(job: Omit<Job, 'corpus'> & Partial<Job>, corpus: Uint8Array, options?: JobOptions): Promise<Cid>;
  status(job: Cid): Promise<JobStatus>;
  /** Resolves when that many rounds are closed and, where there is a chain, anchored. */
  settled(job: Cid, rounds: number, signal?: AbortSignal): Promise<JobStatus>;
  close(): Promise<void>;
}

/** Throws `bad_config` (data directory) or `port_busy`, each naming the remedy. */
export async function createCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const undo: (() => void | Promise<void>)[] = [];
  const unwind = async () => {
    for (const step of undo.reverse()) await step();
  };
  try {
    const directory = new Directory(options.clock ?? systemClock);
    const events = new EventHub(options.clock ?? systemClock);
    const p2p = options.p2p ? await openP2p(options.p2p) : null;
    undo.push(async () => p2p?.close());
    const metrics = new Metrics({
      contributorsOnline: () => directory.online,
      eventStreams: () => events.listeners,
      relayConnections: () => p2p?.connections ?? 0,
      relayReservations: () => p2p?.reservations ?? 0,
    });
    const onBatch = (size: number, ms: number) => metrics.batch(size, ms);
    const stores = await openStores(options, onBatch, (step) => undo.push(step));
    const { storage, blobs } = stores;
    const collector = startCollecting({
      ...stores,
      clock: options.clock ?? systemClock,
      log: options.logger ?? silentLogger,
    });
    undo.push(() => collector.close());
    const identity = await openIdentity({
      ...{ shelf: storage.shelf, network: storage.network, given: options.identityKey ?? null },
      now: (options.clock ?? systemClock).now(),
      log: options.logger ?? silentLogger,
    });
    const parts = { ...stores, directory, events, metrics, p2p, identity };
    const service: Service = createService(
      { ...options, onRound: (job, summary) => onRound(job, summary) },
      parts,
    );
    undo.push(() => service.close());
    const pinner = options.pinning ? createPinner(options.pinning, options, metrics, service) : null;
    undo.push(async () => pinner?.close());
    const onRound = (job: Cid, summary: RoundSummary) => {
      pinner?.add(summary.checkpoint);
      options.onRound?.(job, summary);
    };
    await service.start();
    const { door, keys } = await openRoutes(options, parts, service);
    undo.push(async () => {
      // The door waits for its sockets, and those of the relay are open for as long as their peers are here.
      await p2p?.close();
      await door.close();
    });
    return {
      url: door.url,
      port: door.port,
      fetch: (request) => door.fetch(request),
      network: storage.network,
      identity: identity.address,
      blocks: blobs,
      keys,
      ensureJob: (job, corpus, jobOptions) => service.ensureJob(job, corpus, jobOptions),
      status: (job) => service.queries.job(job),
      settled: (job, rounds, signal) => service.settled(job, rounds, signal),
      close: async () => {
        await service.drain();
        await unwind();
      },
    };
  } catch (error) {
    await unwind();
    throw error;
  }
}

function createPinner(
  at: KuboOptions,
  options: CoordinatorOptions,
  metrics: Metrics,
  service: Service,
): Pinner {
  const get = (cid: Cid) => service.queries.block(cid);
  return new Pinner({
    pin: (cid, signal) => pinAtKubo(at, cid, get, signal),
    outcome: (outcome) => metrics.pin(outcome),
    log: options.logger ?? silentLogger,
  });
}

interface Outside {
  door: Door;
  keys: ApiKeys;
}

interface Parts extends Stores {
  directory: Directory;
  events: EventHub;
  metrics: Metrics;
  p2p: P2p | null;
  identity: ServerIdentity;
}

function createService(options: CoordinatorOptions, parts: Parts): Service {
  const { storage, blobs, bus, leads, directory, events, metrics, identity } = parts;
  const log = options.logger ?? silentLogger;
  const clock = options.clock ?? systemClock;
  return new Service(
    {
      storage,
      blobs,
      bus,
      leads,
      identity,
      anchor: options.anchor ?? null,
      clock,
      ownerOf: async (contributor) => {
        const link = await storage.shelf.get('link', contributor, clock.now());
        return link ? (link.owner as Hex) : null;
      },
      referees: new Set(options.referees),
      random: options.random ?? systemRandom,
      timing: { ...defaultTiming, ...options.timing },
      log,
      initialCheckpoint: options.initialCheckpoint,
      probe: options.probe ?? null,
      stopAfterRounds: options.stopAfterRounds ?? Number.MAX_SAFE_INTEGER,
      roundsOf: (job) => roundsOfJob(storage.shelf, job, clock.now()),
      ...(options.onRound ? { onRound: options.onRound } : {}),
      ...(options.onAnchor ? { onAnchor: options.onAnchor } : {}),
    },
    directory,
    events,
    metrics,
  );
}

/** HTTP and WebSocket on one port. */
async function openRoutes(options: CoordinatorOptions, parts: Parts, service: Service): Promise<Outside> {
  const { storage, blobs, p2p } = parts;
  const clock = options.clock ?? systemClock;
  const clientOf = (request: IncomingMessage) => {
    const forwarded = String(request.headers['x-forwarded-for'] ?? '');
    return clientAddress(request.socket.remoteAddress, forwarded, options.trustedProxies ?? 0);
  };
  const side = createHttpSide({
    options,
    service,
    storage,
    blobs,
    clock,
    random: options.random ?? systemRandom,
    log: options.logger ?? silentLogger,
    version,
    network: () => networkInfo(options, service, parts.identity),
    ice: (client) => p2p?.ice(client, clock.now()) ?? noIce,
    ready: oncePerSecond(clock, async () => {
      service.checkOpen();
      await storage.check(clock.now());
    }),
    heartbeatMs: options.timing?.heartbeatMs ?? defaultTiming.heartbeatMs,
  });
  const door = await openDoor({
    port: options.port,
    host: options.host ?? '127.0.0.1',
    allowedHosts: options.allowedHosts ?? [],
    admit: (socket, request) => service.admit(socket, request.socket, clientOf(request)),
    ...(p2p
      ? {
          relay: (request, socket, head) =>
            p2p.admit(request, socket, head, addressToCount(clientOf(request))),
        }
      : {}),
    app: side.app,
  });
  return { door, keys: side.keys };
}

function networkInfo(
  options: CoordinatorOptions,
  service: Service,
  { address: identity }: ServerIdentity,
): NetworkInfo {
  return {
    network: service.network,
    version,
    chain: options.anchor?.info() ?? null,
    contributorsOnline: service.online,
    identity,
  };
}

/** Readiness is asked by anybody, and each look is a write. */
function oncePerSecond(clock: Clock, look: () => Promise<void>): () => Promise<void> {
  let last: { at: number; result: Promise<void> } | null = null;
  return () => {
    const now = clock.now();
    if (!last || now - last.at >= 1_000) last = { at: now, result: look() };
    return last.result;
  };
}
