/** A coordinator on a temporary data directory and its contributors, all closed when the test is over. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { writeFile } from '#protocol/messages/file.ts';
import type { Job } from '#protocol/messages/job.ts';
import type { Hex } from 'viem';
import { type Coordinator, type CoordinatorOptions, createCoordinator } from '../main.ts';
import { runJob, type RunOutcome } from '../planner/run-job.ts';
import { type Behaviour, TestContributor } from './contributor.ts';
import { fakeExecute, fakeInitialCheckpoint, MemoryBlocks, testJob, testText } from './fake-programs.ts';

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'atoll-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function testCoordinator(options: Partial<CoordinatorOptions> = {}): Promise<Coordinator> {
  const coordinator = await createCoordinator({
    dataDir: options.dataDir ?? (await temporaryFolder()),
    port: 0,
    initialCheckpoint: fakeInitialCheckpoint,
    ...options,
  });
  onTestFinished(() => coordinator.close());
  return coordinator;
}

/** Not started, so that a test says when. */
export function testContributor(
  coordinator: Coordinator,
  behaviour: Behaviour = {},
  key?: Hex,
): TestContributor {
  const contributor = new TestContributor(coordinator.url, behaviour, key);
  onTestFinished(() => contributor.stop());
  return contributor;
}

/** What an honest single process computes for the test job. */
export async function referenceRun(
  rounds: number,
  changes: Partial<Job['training']> = {},
): Promise<RunOutcome> {
  const blocks = new MemoryBlocks();
  const corpus = await writeFile(blocks, testText());
  const job = { ...testJob(changes), corpus };
  return runJob(job, rounds, blocks, (unit) => fakeExecute(unit, blocks), { initial: fakeInitialCheckpoint });
}

export async function getJson(coordinator: Coordinator, path: string): Promise<Record<string, unknown>> {
  const response = await fetch(`${coordinator.url}${path}`);
  return (await response.json()) as Record<string, unknown>;
}
