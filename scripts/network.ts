/**
 * A whole network on this machine: embedded chain, coordinator, job, local contributors, opened in that order and closed in the reverse one.
 * `npm start` is this plus a terminal.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import {
  httpOptionsOf,
  identityKeyOf,
  p2pOptionsOf,
  parseConfig,
  pinningOf,
  storeOptionsOf,
} from '#coordinator/config.ts';
import { type Coordinator, createCoordinator } from '#coordinator/main.ts';
import { type EmbeddedAnchor, openEmbeddedAnchor } from '#coordinator/anchor/embedded.ts';
import { floatToBits } from '#coordinator/planner/optimiser.ts';
import { createPlan } from '#coordinator/planner/plan.ts';
import { lockDataDir } from '#coordinator/storage/lock.ts';
import { probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type ChainInfo, chainSchema, type RoundSummary } from '#protocol/http/api.ts';
import { limits } from '#protocol/limits.ts';
import type { DataOrigin, Job } from '#protocol/messages/job.ts';
import { generateCorpus } from './corpus/generate.ts';
import { type LocalContributors, startLocalContributors } from './local-contributors.ts';
import type { StartOptions } from './start-options.ts';

/** Size of the made corpus. */
const corpusBytes = 1_000_000;

/** Where things lie in a data directory, besides what the coordinator keeps there itself. */
export const places = {
  chain: (dataDir: string) => path.join(dataDir, 'chain'),
  contract: (dataDir: string) => path.join(dataDir, 'contract.json'),
  contributors: (dataDir: string) => path.join(dataDir, 'contributors'),
};

export interface NetworkEvents {
  say: (line: string) => void;
  onRound: (job: Cid, round: RoundSummary) => void;
  onAnchor: (job: Cid, round: number, anchor: NonNullable<RoundSummary['anchor']>) => void;
}

export interface Network {
  readonly coordinator: Coordinator;
  readonly job: Cid;
  readonly anchor: EmbeddedAnchor | null;
  /** Stops everything in order. */
  close(): Promise<void>;
  /** Ends what is not ours to clean up at once; the chain's guard saves its state by itself. */
  kill(): void;
}

export interface Text {
  name: string;
  bytes: Uint8Array;
  /** Known only of a text that was made. */
  sourceEntropy?: number;
  /** Stated only where it is known: nobody says whose a given file is. */
  data?: DataOrigin;
}

/**
 * The text that the options name, checked to be one that their job can be trained on; before anything is started.
 * Throws `bad_input` naming what is wrong and what to do.
 */
export async function loadText(options: StartOptions): Promise<Text> {
  const text = await readText(options);
  try {
    createPlan({ ...jobOf(options, text), corpus: { size: 0, blocks: [] } }, text.bytes);
  } catch (error) {
    if (options.data === null || !(error instanceof AtollError)) throw error;
    throw new AtollError(error.code, `${options.data}: ${error.message}`, { cause: error });
  }
  return text;
}

async function readText({ data, seed }: StartOptions): Promise<Text> {
  if (data === null) {
    const { text, entropyPerByte } = generateCorpus({ bytes: corpusBytes, seed });
    return { name: 'made corpus', bytes: text, sourceEntropy: entropyPerByte, data: madeHere(seed) };
  }
  const unreadable = (reason: string) =>
    new AtollError(
      'bad_input',
      `The text ${data} cannot be used: ${reason}. Give a UTF-8 text file with --data.`,
    );
  try {
    const { size } = await stat(data);
    if (size > limits.textBytesMax)
      throw unreadable(`it has ${size} bytes, at most ${limits.textBytesMax} are taken`);
    return { name: path.basename(data).slice(0, 120), bytes: await readFile(data) };
  } catch (cause) {
    if (cause instanceof AtollError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw unreadable(
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : message,
    );
  }
}

/** The made corpus is written by this program, which is under the same licence. */
function madeHere(seed: number): DataOrigin {
  return { source: `Atoll scripts/corpus, seed ${seed}`, licence: 'Apache-2.0', quality: 1000 };
}

/** The job that the options ask for, but for its text. Equal options and text make the same job, which then goes on. */
export function jobOf(
  options: StartOptions,
  { name, data }: Pick<Text, 'name' | 'data'>,
): Omit<Job, 'corpus'> {
  return {
    v: 1,
    kind: 'train',
    name,
    model: options.model,
    policy: options.policy,
    training: {
      lanes: options.lanes,
      steps: options.steps,
      batch: options.batch,
      lr: floatToBits(options.lr),
      warmup: options.warmup,
      beta1: floatToBits(0.9),
      beta2: floatToBits(0.99),
      eps: floatToBits(1e-8),
      weightDecay: floatToBits(0.01),
      outerLr: floatToBits(1),
      outerMomentum: floatToBits(0.7),
      heldOut: options.heldOut,
    },
    ...(data ? { data } : {}),
    seed: options.seed,
  };
}

/** Throws `bad_config` when the data directory cannot be written or another coordinator runs on it. */
export function checkDataDir(dataDir: string): void {
  lockDataDir(dataDir).release();
}

/** Throws `bad_config`, `bad_input`, `port_busy` or `unavailable`, each naming the remedy, with everything closed again; `cancelled`. */
export async function openNetwork(
  options: StartOptions,
  text: Text,
  staticDir: string,
  events: NetworkEvents,
  signal: AbortSignal,
): Promise<Network> {
  const undo: (() => Promise<void>)[] = [];
  const close = async () => {
    for (let step = undo.pop(); step; step = undo.pop()) await step();
  };
  let locals: LocalContributors | null = null;
  try {
    const anchor = options.chain ? await openChain(options.dataDir, signal) : null;
    if (anchor) undo.push(() => anchor.close());
    const config = parseConfig({}, process.env);
    const coordinator = await createCoordinator({
      ...httpOptionsOf(config),
      p2p: p2pOptionsOf(config),
      pinning: pinningOf(config),
      identityKey: identityKeyOf(config),
      ...storeOptionsOf(config),
      dataDir: options.dataDir,
      port: options.port,
      staticDir,
      anchor,
      initialCheckpoint,
      probe: probeDigest,
      onRound: events.onRound,
      onAnchor: events.onAnchor,
    });
    undo.push(() => coordinator.close());
    signal.throwIfAborted();
    const job = await coordinator.ensureJob(jobOf(options, text), text.bytes, {
      alone: true,
      ...(options.rounds === null ? {} : { stopAfterRounds: options.rounds }),
      ...(text.sourceEntropy === undefined ? {} : { sourceEntropy: text.sourceEntropy }),
    });
    const dir = places.contributors(options.dataDir);
    const started = startLocalContributors({
      count: options.local,
      url: coordinator.url,
      dir,
      say: events.say,
    });
    undo.push(() => started.stop());
    locals = started;
    return { coordinator, job, anchor, close, kill: () => locals?.kill() };
  } catch (error) {
    await close();
    if (signal.aborted) throw new AtollError('cancelled', 'Stopped while starting.', { cause: error });
    throw error;
  }
}

/** The embedded chain with the contract of the last start, whose address is kept beside it. */
async function openChain(dataDir: string, signal: AbortSignal): Promise<EmbeddedAnchor> {
  const dir = places.chain(dataDir);
  mkdirSync(dir, { recursive: true });
  const anchor = await openEmbeddedAnchor({ dir, recorded: readContract(dataDir) }, signal);
  const file = places.contract(dataDir);
  writeFileSync(`${file}.new`, `${JSON.stringify(anchor.info(), null, 2)}\n`);
  renameSync(`${file}.new`, file);
  return anchor;
}

/** The contract that a data directory's rounds were anchored in, or null before the first start with a chain. */
export function readContract(dataDir: string): ChainInfo | null {
  try {
    return v.parse(chainSchema, JSON.parse(readFileSync(places.contract(dataDir), 'utf8')));
  } catch {
    return null; // none yet, or unreadable: a new one is deployed and all rounds are anchored in it
  }
}
