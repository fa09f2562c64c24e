/**
 * Several coordinators on one PostgreSQL: contributors of each meet on the same units, and what one process does the others hear of, or find; one that
 * is killed is not missed; and a database that is restarted under them costs nothing that was acknowledged.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test, type TestContext, vi } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import type { JobStatus } from '#protocol/http/api.ts';
import { toHex } from '#protocol/messages/hex.ts';
import { peerIdOfKey, signPeerRecord } from '#protocol/p2p/record.ts';
import { createCoordinator } from '../main.ts';
import type { S3Options } from '../storage/blobs-s3.ts';
import { TestContributor } from '../testing/contributor.ts';
import { fakeInitialCheckpoint, testJob, testText } from '../testing/fake-programs.ts';
import { referenceRun, temporaryFolder } from '../testing/harness.ts';
import { startS3 } from '../testing/s3.ts';
import { useNats, usePostgres } from '../testing/services.ts';

const postgres = usePostgres();
const nats = useNats();

function contributorsOf(urls: readonly string[]): TestContributor[] {
  const contributors = urls.map((url) => new TestContributor(url).start());
  onTestFinished(() => {
    for (const contributor of contributors) contributor.stop();
  });
  return contributors;
}

/** The peer id that it has announced. */
async function announce(contributor: TestContributor): Promise<string> {
  await contributor.frame('welcome');
  const peer = peerIdOfKey(toHex(crypto.getRandomValues(new Uint8Array(32))));
  const expires = Date.now() + 3_600_000;
  const record = await signPeerRecord(contributor.signer, contributor.network ?? '0x', peer, expires);
  contributor.send({ t: 'announce', record, addresses: [`/memory/${peer}`] });
  return peer;
}

/** Other tests share the machine. */
const patience = { timeout: 20_000 };

function neighboursOf(contributor: TestContributor): string[] {
  const last = contributor.received.findLast((frame) => frame.t === 'peers');
  return last?.t === 'peers' ? last.peers.map(({ peer }) => peer) : [];
}

async function inProcess(
  databaseUrl: string,
  dataDir: string,
  rounds: number,
  natsUrl?: string,
  blockStore: S3Options | null = null,
) {
  const coordinator = await createCoordinator({
    ...{ dataDir, databaseUrl, port: 0, initialCheckpoint: fakeInitialCheckpoint, stopAfterRounds: rounds },
    timing: { resyncMs: 500 },
    blockStore,
    ...(natsUrl ? { natsUrl } : {}),
  });
  onTestFinished(() => coordinator.close());
  return coordinator;
}

test.for(['postgres', 'nats'] as const)(
  'a job whose every unit needs contributors of both processes is trained to the end, bus over %s',
  async (bus, context) => {
    const url = await (await postgres(context)).createDatabase();
    const natsUrl = bus === 'nats' ? (await nats(context)).url : undefined;
    const dataDir = await temporaryFolder();
    const rounds = 2;
    const first = await inProcess(url, dataDir, rounds, natsUrl);
    const second = await inProcess(url, dataDir, rounds, natsUrl);
    expect(second.network).toBe(first.network);
    // One each: a unit needs two contributors, so none is decided within one process.
    contributorsOf([first.url, second.url]);
    const job = await first.ensureJob(testJob(), testText(), { stopAfterRounds: rounds });
    const statuses = await Promise.all([first.settled(job, rounds), second.settled(job, rounds)]);
    const { checkpoints } = await referenceRun(rounds);
    for (const status of statuses) {
      expect(status.rounds.map((round) => round.checkpoint)).toEqual(checkpoints);
    }
  },
);

test('peers of two processes are nobody to each other, and a word about one is heard without harm', async (context) => {
  const url = await (await postgres(context)).createDatabase();
  const dataDir = await temporaryFolder();
  const first = await inProcess(url, dataDir, 1);
  const second = await inProcess(url, dataDir, 1);
  const all = contributorsOf([first.url, first.url, second.url]);
  const peers = await Promise.all(all.map((each) => announce(each)));
  const [one, two, far] = all as [TestContributor, TestContributor, TestContributor];
  await vi.waitFor(() => {
    expect(neighboursOf(one)).toEqual([peers[1]]);
    expect(neighboursOf(two)).toEqual([peers[0]]);
  }, patience);
  const about = peers[0] as string;
  far.send({ t: 'report', peer: about, fault: 'stall' });
  far.send({ t: 'swarm', holds: [], wants: [], direct: 0, relayed: 0, failed: [about] });
  const sizes = async () =>
    Promise.all(
      [first, second].map(async (each) => {
        const { swarm } = (await (await fetch(`${each.url}/v1/peers`)).json()) as {
          swarm: { peers: number };
        };
        return swarm.peers;
      }),
    );
  await vi.waitFor(async () => expect(await sizes()).toEqual([2, 1]), patience);
  expect(neighboursOf(far)).toEqual([]);
  expect(far.received.filter(({ t }) => t === 'problem')).toEqual([]);
  // Work goes on as ever: its replicas meet in the database.
  const job = await first.ensureJob(testJob(), testText(), { stopAfterRounds: 1 });
  await second.settled(job, 1);
  expect(neighboursOf(one)).toEqual([peers[1]]);
});

test('a second coordinator that keeps its blocks elsewhere is refused; one on S3 shares them without a disk', async (context) => {
  const url = await (await postgres(context)).createDatabase();
  const dataDir = await temporaryFolder();
  await inProcess(url, dataDir, 1);
  await inProcess(url, dataDir, 1);
  const elsewhere = inProcess(url, await temporaryFolder(), 1);
  await expect(elsewhere).rejects.toMatchObject({ code: 'bad_config', message: /blocks elsewhere/ });
  const blockStore = await startS3();
  const other = await (await postgres(context)).createDatabase();
  const [first, second] = await Promise.all(
    [1, 2].map(async () => inProcess(other, await temporaryFolder(), 1, undefined, blockStore)),
  );
  const cid = await first?.blocks.put(Uint8Array.of(1, 2, 3));
  expect(await second?.blocks.get(cid as string)).toEqual(Uint8Array.of(1, 2, 3));
});

async function startChild(databaseUrl: string, dataDir: string, rounds: number) {
  const script = join(import.meta.dirname, '../testing/child.ts');
  const env = { ...process.env, DATABASE_URL: databaseUrl };
  const child = spawn(process.execPath, [script, dataDir, '0', String(rounds)], { env });
  onTestFinished(() => void child.kill('SIGKILL'));
  return new Promise<{ child: ChildProcess; url: string }>((resolve, reject) => {
    child.stderr.on('data', (data: Buffer) => process.stderr.write(data));
    child.stdout.once('data', (data: Buffer) => {
      resolve({ child, url: `http://127.0.0.1:${data.toString().trim()}` });
    });
    child.once('exit', (code, signal) => reject(new Error(`The coordinator ended early: ${code} ${signal}`)));
  });
}

async function finished(url: string, rounds: number): Promise<JobStatus> {
  const get = async (path: string) => (await fetch(`${url}${path}`)).json();
  for (;;) {
    const { jobs } = (await get('/v1/jobs')) as { jobs: { id: string }[] };
    const status = (await get(`/v1/jobs/${jobs[0]?.id}`)) as JobStatus;
    if ((status.rounds?.length ?? 0) >= rounds) return status;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Every commit and reveal that a contributor was told is durable is in the database. */
async function checkAcknowledged(url: string, contributors: readonly TestContributor[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{
    assignment: string;
    commitment: string | null;
    digest: string | null;
  }>('SELECT assignment, commitment, digest FROM replicas');
  await client.end();
  const stored = new Map(rows.map((row) => [row.assignment, row]));
  for (const { acknowledged } of contributors) {
    for (const [assignment, { commitment }] of acknowledged.commits) {
      expect(stored.get(assignment)?.commitment).toBe(commitment);
    }
    for (const [assignment, { result }] of acknowledged.reveals) {
      expect(stored.get(assignment)?.digest).toBe(cidOfSync(result, cborCode));
    }
  }
}

async function children(context: TestContext, rounds: number) {
  const server = await postgres(context);
  const url = await server.createDatabase();
  const dataDir = await temporaryFolder();
  const first = await startChild(url, dataDir, rounds);
  const second = await startChild(url, dataDir, rounds);
  const contributors = contributorsOf([first.url, first.url, second.url, second.url]);
  const someCommits = async (more: number) => {
    const count = () => contributors.reduce((sum, { acknowledged }) => sum + acknowledged.commits.size, 0);
    const enough = count() + more;
    while (count() < enough) await new Promise((resolve) => setTimeout(resolve, 20));
  };
  return { server, url, first, second, contributors, someCommits };
}

test('of two processes one is killed; its contributors move over, and nothing acknowledged is lost', async (context) => {
  const rounds = 4;
  const { url, first, second, contributors, someCommits } = await children(context, rounds);
  await someCommits(6);
  first.child.kill('SIGKILL');
  for (const contributor of contributors) contributor.url = second.url;
  const status = await finished(second.url, rounds);
  const { checkpoints } = await referenceRun(rounds);
  expect(status.rounds.slice(0, rounds).map((round) => round.checkpoint)).toEqual(checkpoints);
  await checkAcknowledged(url, contributors);
});

test('PostgreSQL is restarted under both; they wait, go on by themselves, and nothing acknowledged is lost', async (context) => {
  const rounds = 4;
  const { server, url, first, second, contributors, someCommits } = await children(context, rounds);
  await someCommits(6);
  await server.halt('crash');
  const ready = await fetch(`${first.url}/readyz`);
  expect(ready.status).toBe(503);
  await server.resume();
  for (const { url: coordinator } of [first, second]) {
    const status = await finished(coordinator, rounds);
    const { checkpoints } = await referenceRun(rounds);
    expect(status.rounds.slice(0, rounds).map((round) => round.checkpoint)).toEqual(checkpoints);
  }
  expect((await fetch(`${first.url}/readyz`)).status).toBe(200);
  await checkAcknowledged(url, contributors);
});
