/**
 * A whole small network for the end-to-end tests: embedded chain, coordinator, real kernels, contributors in this process, and the honest
 * single-process run that the network must equal bit for bit.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedAnchor, openEmbeddedAnchor } from '#coordinator/anchor/embedded.ts';
import type { P2pOptions } from '#coordinator/p2p/p2p.ts';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { runJob, type RunOutcome } from '#coordinator/planner/run-job.ts';
import { createDevice, executeWorkunit, probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { constant, toBits } from '#kernels/ops/math/cpu.ts';
import type { ChainInfo } from '#protocol/http/api.ts';
import { MemoryBlocks } from '#protocol/memory-blocks.ts';
import { writeFile } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { nodePorts } from '#workers/node/contributor.ts';
import { threadCompute } from '#workers/node/thread-compute.ts';
import type { RuntimePorts } from '#workers/runtime/ports.ts';

const bits = (x: number) => toBits(constant(x));

/** Small enough that a software GPU computes a unit in seconds. */
export const job: Omit<Job, 'corpus'> = {
  v: 1,
  kind: 'train',
  name: 'end to end',
  model: { L: 1, C: 16, NH: 2, T: 16, V: 256 },
  policy: 'i10sr',
  training: {
    lanes: 2,
    steps: 4,
    batch: 2,
    lr: bits(0.01),
    warmup: 2,
    beta1: bits(0.9),
    beta2: bits(0.99),
    eps: bits(1e-8),
    weightDecay: bits(0.1),
    outerLr: bits(1),
    outerMomentum: bits(0.7),
    heldOut: 8,
  },
  seed: 17,
};

/** With blocks as large as those that are worth waiting for a neighbour's. */
export const largerJob: typeof job = { ...job, name: 'end to end, larger', model: { ...job.model, C: 64 } };

/** Bytes of the tokens of one unit, of training and of evaluation alike: nothing else has this size. */
export const tokenBytes = job.training.steps * job.training.batch * (job.model.T + 1);

export const text = new TextEncoder().encode(
  'The quick brown fox jumps over the lazy dog, and the dog does not mind. '.repeat(60),
);

/** What one honest machine makes of the job, with no network. */
export async function honestRun(rounds: number, of: Omit<Job, 'corpus'> = job): Promise<RunOutcome> {
  const blocks = new MemoryBlocks();
  const device = await createDevice('reference');
  const whole = { ...of, corpus: await writeFile(blocks, text) };
  return runJob(whole, rounds, blocks, (unit) => executeWorkunit(unit, { device, blocks }), {
    initial: initialCheckpoint,
  });
}

export async function temporaryDir(): Promise<{ dir: string; remove: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'atoll-e2e-'));
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

const contractFile = (dataDir: string) => join(dataDir, 'contract.json');

function recordedContract(dataDir: string): ChainInfo | null {
  const file = contractFile(dataDir);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ChainInfo) : null;
}

export interface Network {
  coordinator: Coordinator;
  anchor: EmbeddedAnchor;
  close(): Promise<void>;
}

/** Opens, or opens again, the network of a data directory. */
export async function openNetwork(
  dataDir: string,
  { staticDir, port = 0, p2p = null }: { staticDir?: string; port?: number; p2p?: P2pOptions | null } = {},
): Promise<Network> {
  const anchor = await openEmbeddedAnchor({
    dir: join(dataDir, 'chain'),
    recorded: recordedContract(dataDir),
  });
  writeFileSync(contractFile(dataDir), JSON.stringify(anchor.info()));
  const coordinator = await createCoordinator({
    dataDir,
    port,
    anchor,
    initialCheckpoint,
    probe: probeDigest,
    ...(staticDir ? { staticDir } : {}),
    p2p,
  });
  const close = async () => {
    await coordinator.close();
    await anchor.close();
  };
  return { coordinator, anchor, close };
}

/** Sum of a counter of the coordinator's metrics, over all labels or those that begin so. */
export async function metric(url: string, name: string, labels = ''): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`)).text()).split('\n');
  const own = lines.filter((line) => line.startsWith(`${name}{${labels}`) || line.startsWith(`${name} `));
  return own.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Ports of a contributor in this process with a key of its own, computing on WebAssembly in a thread: other code than `honestRun`'s. */
export function contributorPorts(url: string): RuntimePorts {
  const signer = signerFromKey(createKey());
  return nodePorts({ url, signer, compute: threadCompute({ backend: 'wasm' }), log: silent });
}
