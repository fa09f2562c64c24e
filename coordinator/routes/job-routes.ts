/**
 * The routes by which a client starts a job: a text is stored, then a job names it.
 *
 * A job may only name a file that was stored here by this route: naming blocks of a result that is not published yet would publish them.
 */
import { createHash } from 'node:crypto';
import * as v from 'valibot';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { type FileInfo, fileInfoSchema, type JobChangeOrder, type NewJob } from '#protocol/http/accounts.ts';
import type { JobStatus } from '#protocol/http/api.ts';
import { endpoints } from '#protocol/http/table.ts';
import { limits } from '#protocol/limits.ts';
import { type BlockStore, readFile } from '#protocol/messages/file.ts';
import { type Job, jobId } from '#protocol/messages/job.ts';
import { parameterCount } from '#kernels/model/layout.ts';
import type { Funding } from '../ledger/postings.ts';
import type { Clock } from '../service/ports.ts';
import type { JobRecord } from '../storage/port.ts';
import type { Shelf, ShelfRecord } from '../storage/shelf.ts';
import type { Principal } from './api-keys.ts';
import type { Mount } from './mount.ts';

/** What is done to jobs that exist. */
export interface JobControls {
  jobs: () => Promise<readonly Pick<JobRecord, 'id' | 'active' | 'cancelled'>[]>;
  status: (job: Cid) => Promise<JobStatus>;
  setWeight: (job: Cid, weight: number) => Promise<void>;
  setAside: (job: Cid, cancelled: boolean) => Promise<void>;
  takeUpAgain: (job: Cid) => Promise<void>;
  fund: (funding: Funding) => Promise<boolean>;
  poolOf: (job: Cid) => Promise<bigint | null>;
}

export interface JobPorts extends JobControls {
  shelf: Shelf;
  clock: Clock;
  blobs: BlockStore;
  startJob: (job: Omit<Job, 'corpus'>, corpus: Uint8Array, rounds: number, weight?: number) => Promise<Cid>;
  /** Jobs that are being worked on and not done. */
  running: () => Promise<readonly Cid[]>;
}

const fileKind = 'file';
const jobKind = 'job';
/** Less than the collector of garbage leaves a young block alone (a day, and an hour within which putting it again does not count). */
const fileKeptMs = 20 * 60 * 60_000;

/** Names the payment that a job begins with. */
const startReference = 'start';

/** What is kept of a client's job besides the job: who started it, and how far it goes. */
const startedSchema = v.object({ rounds: v.number() });

export function addJobs(mount: Mount, ports: JobPorts): void {
  // One at a time: a job is read, planned and given its first checkpoint in memory.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };
  mount(endpoints.storeFile, async ({ body, principal }) => {
    requireScope(principal);
    return storeFile(body, ownerOf(principal), ports);
  });
  mount(endpoints.startJob, async ({ body, principal, context }) => {
    requireScope(principal);
    requireOrdinary(body.weight, principal);
    const id = await inTurn(() => startJob(body, ownerOf(principal), ports));
    context.header('Location', `/v1/jobs/${id}`);
    return { id };
  });
  mount(endpoints.changeJob, ({ params, body, principal }) =>
    inTurn(() => changeJob(params.id, body, principal, ports)),
  );
  mount(endpoints.cancelJob, ({ params, principal }) =>
    inTurn(async () => {
      const job = await ownJob(params.id, principal, ports);
      if (!job.cancelled) await ports.setAside(params.id, true);
    }),
  );
  mount(endpoints.fundJob, async ({ params: { id }, body, principal }) => {
    if (!isOperator(principal)) throw new AtollError('forbidden', 'This key is not one of the operator.');
    await ownJob(id, principal, ports);
    const { reference } = body;
    const paid = await ports.fund({ job: id, amount: BigInt(body.amount), reference });
    return { id, paid, pool: String((await ports.poolOf(id)) ?? 0n) };
  });
}

async function changeJob(
  id: Cid,
  { weight, paused }: JobChangeOrder,
  principal: Principal,
  ports: JobPorts,
): Promise<JobStatus> {
  requireOrdinary(weight, principal);
  const job = await ownJob(id, principal, ports);
  if (job.cancelled) throw new AtollError('conflict', 'The job has been cancelled. Start it again.');
  if (weight !== undefined) await ports.setWeight(id, weight);
  if (paused === true && job.active) await ports.setAside(id, false);
  if (paused === false && !job.active) {
    if (!isOperator(principal)) await requireRoom(ownerOf(principal), ports);
    await ports.takeUpAgain(id);
  }
  return ports.status(id);
}

/** Throws `not_found`, or `forbidden` unless the key is of the operator or of whoever started the job. */
async function ownJob(id: Cid, principal: Principal, { jobs, shelf, clock }: JobPorts) {
  const job = (await jobs()).find((record) => record.id === id);
  if (!job) throw new AtollError('not_found', 'There is no such job.', { details: { job: id } });
  if (isOperator(principal)) return job;
  requireScope(principal);
  const started = await shelf.get(jobKind, id, clock.now());
  if (started?.owner !== ownerOf(principal)) {
    throw new AtollError('forbidden', 'The job is not yours: another key or the operator started it.');
  }
  return job;
}

function isOperator({ scopes }: Principal): boolean {
  return scopes.includes('operate');
}

/** Throws `forbidden`: a client may have its jobs come after those of others, not before. */
function requireOrdinary(weight: number | undefined, principal: Principal): void {
  if (weight === undefined || weight <= 1 || isOperator(principal)) return;
  throw new AtollError('forbidden', 'A weight above 1 is for the operator to give.');
}

/** How many rounds a client's job goes on for; null for a job that no client started. */
export async function roundsOfJob(shelf: Shelf, job: Cid, now: number): Promise<number | null> {
  const record = await shelf.get(jobKind, job, now);
  return record ? roundsIn(record) : null;
}

function requireScope(principal: Principal): void {
  if (!principal.scopes.includes('jobs')) throw new AtollError('forbidden', 'This key may not start jobs.');
}

function ownerOf({ owner }: Principal): string {
  return owner ?? 'operator';
}

async function storeFile(
  body: ReadableStream<Uint8Array>,
  owner: string,
  { shelf, clock, blobs }: JobPorts,
): Promise<FileInfo> {
  const file: FileInfo = { size: 0, blocks: [] };
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let held = new Uint8Array(limits.blockBytesMax);
  let filled = 0;
  const flush = async () => {
    checkText(decoder, held.subarray(0, filled));
    file.blocks.push(await blobs.put(held.slice(0, filled)));
    file.size += filled;
    filled = 0;
  };
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength;) {
      const part = chunk.subarray(at, at + held.byteLength - filled);
      held.set(part, filled);
      at += part.byteLength;
      filled += part.byteLength;
      if (filled === held.byteLength) await flush();
    }
  }
  if (filled > 0) await flush();
  held = new Uint8Array(0);
  checkText(decoder, null);
  if (file.size === 0) throw new AtollError('bad_input', 'The text is empty.');
  const now = clock.now();
  const value = JSON.stringify(file);
  const record = { kind: fileKind, key: keyOf(file), owner, value, createdAt: now };
  await shelf.put({ ...record, expiresAt: now + fileKeptMs });
  return file;
}

/** Throws `bad_input` as soon as the text is none; null ends it. */
function checkText(decoder: TextDecoder, bytes: Uint8Array | null): void {
  try {
    if (bytes) decoder.decode(bytes, { stream: true });
    else decoder.decode();
  } catch (cause) {
    throw new AtollError('bad_input', 'The text is not UTF-8. Convert the file, for example with iconv.', {
      cause,
    });
  }
}

function keyOf(file: FileInfo): string {
  return createHash('sha256')
    .update(JSON.stringify([file.size, file.blocks]))
    .digest('hex');
}

async function startJob(wanted: NewJob, owner: string, ports: JobPorts): Promise<Cid> {
  const { shelf, clock, blobs } = ports;
  const parameters = parameterCount(wanted.model);
  if (parameters > limits.clientParametersMax) {
    throw new AtollError(
      'bad_input',
      `The model has ${parameters} parameters; a client's job may have ${limits.clientParametersMax}.`,
    );
  }
  const stored = await shelf.get(fileKind, keyOf(wanted.corpus), clock.now());
  if (!stored) {
    throw new AtollError(
      'bad_input',
      'The corpus is no file that was stored here in the last 20 hours. Store it first.',
    );
  }
  await requireRoom(owner, ports);
  const file = v.parse(fileInfoSchema, JSON.parse(stored.value));
  const document = documentOf(wanted);
  const id = jobId({ ...document, corpus: file });
  const before = await shelf.get(jobKind, id, clock.now());
  const isKnown = (await ports.jobs()).some((job) => job.id === id);
  if (!before && isKnown) {
    throw new AtollError('conflict', 'This is a job of the operator’s own.', { details: { job: id } });
  }
  // Kept before the job is begun: whichever process takes it up must know how far it goes.
  const rounds = Math.max(wanted.rounds, before ? roundsIn(before) : 0);
  const value = JSON.stringify({ rounds });
  const record = { kind: jobKind, key: id, owner: before?.owner ?? owner, value };
  await shelf.put({ ...record, createdAt: before?.createdAt ?? clock.now(), expiresAt: null });
  const { budget } = wanted;
  if (budget !== undefined && !isKnown) {
    await ports.fund({ job: id, amount: BigInt(budget), reference: startReference });
  }
  try {
    return await ports.startJob(document, await readFile(blobs, file), rounds, wanted.weight);
  } catch (error) {
    if (before) await shelf.put(before);
    else await shelf.take(jobKind, id, clock.now());
    throw error;
  }
}

function roundsIn(record: ShelfRecord): number {
  return v.parse(startedSchema, JSON.parse(record.value)).rounds;
}

/** Throws `conflict` when the owner, or everybody together, has as many jobs going as there may be. */
async function requireRoom(owner: string, { shelf, clock, running }: JobPorts): Promise<void> {
  const going = new Set(await running());
  const own = await shelf.list(jobKind, owner, { limit: limits.pageSizeMax, now: clock.now() });
  const ownGoing = own.filter((record) => going.has(record.key)).length;
  if (ownGoing >= limits.jobsPerOwnerMax || going.size >= limits.jobsMax) {
    const most = ownGoing >= limits.jobsPerOwnerMax ? limits.jobsPerOwnerMax : limits.jobsMax;
    throw new AtollError('conflict', `There are ${most} jobs going already. Wait until one is done.`);
  }
}

const bits = new DataView(new ArrayBuffer(4));
/** The f32 nearest to a decimal, as its bits. */
function bitsOf(value: number): number {
  bits.setFloat32(0, value);
  return bits.getUint32(0);
}

function documentOf({ name, model, policy, training, seed, data }: NewJob): Omit<Job, 'corpus'> {
  const { lanes, steps, batch, warmup, heldOut, clipNorm } = training;
  return {
    v: 1,
    kind: 'train',
    name,
    model,
    policy,
    training: {
      lanes,
      steps,
      batch,
      lr: bitsOf(training.lr),
      warmup,
      beta1: bitsOf(training.beta1),
      beta2: bitsOf(training.beta2),
      eps: bitsOf(training.eps),
      weightDecay: bitsOf(training.weightDecay),
      ...(clipNorm === undefined ? {} : { clipNorm: bitsOf(clipNorm) }),
      outerLr: bitsOf(training.outerLr),
      outerMomentum: bitsOf(training.outerMomentum),
      heldOut,
    },
    ...(data === undefined ? {} : { data }),
    seed,
  };
}
