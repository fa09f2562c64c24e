/**
 * kill -9 of the coordinator, ten times at random moments of a run with real kernels and a real chain. Whatever it had acknowledged must be there
 * afterwards, and the model must be the one of an undisturbed run. A failure prints the seed of its moments.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyJobOnChain } from '#coordinator/anchor/verify.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';
import { lowbias32 } from '#kernels/ops/math/cpu.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { type JobStatus, routePath, routes } from '#protocol/http/api.ts';
import type { FromCoordinator } from '#protocol/messages/frames.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { tapped } from '../cheats/wiretap.ts';
import { contributorPorts, honestRun, openNetwork, temporaryDir } from './rig.ts';

const rounds = 14;
const kills = 10;
const seed = Number(process.env['ATOLL_TEST_SEED'] ?? Date.now() % 2 ** 31);

let place: Awaited<ReturnType<typeof temporaryDir>>;
let port: number;
let child: ChildProcess | null = null;
const contributors: ContributorControl[] = [];
/** Everything that was acknowledged to the contributors. */
const acknowledged = {
  committed: new Set<string>(),
  revealed: new Set<string>(),
  agreed: new Map<string, Cid>(),
};

beforeAll(async () => {
  place = await temporaryDir();
  port = await freePort();
});

afterAll(async () => {
  for (const contributor of contributors) await contributor.stop();
  child?.kill('SIGKILL');
  await place?.remove();
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return address.port;
}

async function startCoordinator(): Promise<void> {
  const script = fileURLToPath(new URL('coordinator-process.ts', import.meta.url));
  const started = spawn(
    process.execPath,
    [...process.execArgv, script, place.dir, String(port), String(rounds)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  child = started;
  const ended = once(started, 'exit').then(([code]) => {
    throw new Error(`The coordinator ended with ${code} before it was ready.`);
  });
  await Promise.race([once(started.stdout as NodeJS.ReadableStream, 'data'), ended]);
  ended.catch(() => undefined); // later ends are the test's own doing
}

async function killCoordinator(): Promise<void> {
  const running = child as ChildProcess;
  const gone = once(running, 'exit');
  running.kill('SIGKILL');
  await gone;
}

function startContributor(): Promise<void> {
  const ports = contributorPorts(`http://127.0.0.1:${port}`);
  const incoming = (frame: FromCoordinator) => {
    if (frame.t === 'committed' || frame.t === 'revealed') acknowledged[frame.t].add(frame.assignment);
    if (frame.t === 'verdict' && frame.outcome === 'agreed')
      acknowledged.agreed.set(frame.assignment, frame.unit);
    return frame;
  };
  const control = createRuntime({ ...ports, transport: tapped(ports.transport, { incoming }) });
  contributors.push(control);
  return control.start();
}

async function jobStatus(): Promise<JobStatus> {
  const base = `http://127.0.0.1:${port}`;
  const { jobs } = (await (await fetch(base + routes.jobs)).json()) as { jobs: { id: string }[] };
  const path = routePath(routes.job, (jobs[0] as { id: string }).id);
  return (await (await fetch(base + path)).json()) as JobStatus;
}

describe(`a coordinator that is killed ${kills} times (seed ${seed})`, () => {
  it('loses nothing it acknowledged and arrives at the undisturbed model', async () => {
    const honest = honestRun(rounds);
    await startCoordinator();
    for (let i = 0; i < 3; i++) await startContributor();
    let status = await jobStatus();
    for (let i = 0; i < kills; i++) {
      await sleep(300 + (lowbias32(seed + i) % 1200));
      status = await jobStatus();
      expect(status.rounds.length, `kill ${i} must fall into the run`).toBeLessThan(rounds);
      await killCoordinator();
      await startCoordinator();
    }
    while (status.rounds.length < rounds || status.rounds.some(({ anchor }) => anchor === null)) {
      await sleep(200);
      status = await jobStatus();
    }
    const { checkpoints, losses } = await honest;
    expect(status.rounds.map(({ checkpoint }) => checkpoint)).toEqual(checkpoints);
    expect(status.rounds.map(({ loss }) => loss)).toEqual(losses.slice(1));
    for (const contributor of contributors.splice(0)) await contributor.stop();
    await killCoordinator();
    await expectRecorded();
    await expectAnchored(status);
  });
});

async function expectRecorded(): Promise<void> {
  const storage = await openSqliteStorage({ path: join(place.dir, 'atoll.sqlite'), network: '0x' });
  expect(acknowledged.committed.size).toBeGreaterThan(0);
  for (const assignment of acknowledged.committed) {
    expect((await storage.replica(assignment as `0x${string}`))?.commitment).toMatch(/^0x/);
  }
  for (const assignment of acknowledged.revealed) {
    expect((await storage.replica(assignment as `0x${string}`))?.digest).toMatch(/^bafy/);
  }
  for (const [assignment, unit] of acknowledged.agreed) {
    const record = await storage.unit(unit);
    expect(record?.phase).toBe('accepted');
    expect(record?.digest).toBe((await storage.replica(assignment as `0x${string}`))?.digest);
  }
  await storage.close();
}

async function expectAnchored(status: JobStatus): Promise<void> {
  const network = await openNetwork(place.dir);
  try {
    const { rpcUrl, contract } = network.anchor.info();
    await network.coordinator.settled(status.id, rounds, AbortSignal.timeout(60_000));
    const verdict = await verifyJobOnChain({ chain: rpcUrl, contract, job: status.id });
    expect(verdict.kind).toBe('consistent');
    expect('rounds' in verdict ? verdict.rounds.length : 0).toBe(rounds);
  } finally {
    await network.close();
  }
}
