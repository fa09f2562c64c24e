/**
 * kill -9 of the coordinator in mid-round, ten times at random moments: nothing it has acknowledged is lost, the ledger balances, and the
 * checkpoints are those of an undisturbed run. ATOLL_SEED=n replays the moments.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { cborCode, cidOfSync } from '#protocol/codec/cid.ts';
import type { JobStatus } from '#protocol/http/api.ts';
import type { Hex } from 'viem';
import { balanceChanges, brokenAt, type SealedTransfer } from '../ledger/chain.ts';
import { mix } from '../planner/random.ts';
import { openSqliteStorage } from '../storage/sqlite/sqlite-storage.ts';
import { TestContributor } from '../testing/contributor.ts';
import { referenceRun, temporaryFolder } from '../testing/harness.ts';

type StoredTransfer = Omit<SealedTransfer, 'amount'> & { id: number; amount: string };

const kills = 10;
const killMsMax = 400;
const manyRounds = 10_000;

/** Starts the child and resolves with it and its port once it is ready. */
function startChild(
  dataDir: string,
  port: number,
  rounds: number,
): Promise<{ child: ChildProcess; port: number }> {
  const script = join(import.meta.dirname, '../testing/child.ts');
  const child = spawn(process.execPath, [script, dataDir, String(port), String(rounds)]);
  onTestFinished(() => void child.kill('SIGKILL'));
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (data: Buffer) => process.stderr.write(data));
    child.stdout.once('data', (data: Buffer) => resolve({ child, port: Number(data.toString()) }));
    child.once('exit', (code, signal) => reject(new Error(`The coordinator ended early: ${code} ${signal}`)));
  });
}

async function killNow(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** As the next start finds it: what the journal holds comes into the tables when the storage is opened. */
async function openDatabase(dataDir: string): Promise<BetterSqlite3.Database> {
  const path = join(dataDir, 'atoll.sqlite');
  await (await openSqliteStorage({ path, network: '0x' })).close();
  const db = new BetterSqlite3(path);
  onTestFinished(() => void db.close());
  return db;
}

interface ReplicaRow {
  commitment: Hex;
  digest: string | null;
  state: string;
  phase: string;
  accepted: string | null;
}

function checkAcknowledged(db: BetterSqlite3.Database, contributors: readonly TestContributor[]): void {
  const row = db.prepare(
    'SELECT r.commitment, r.digest, r.state, u.phase, u.digest AS accepted FROM replicas r JOIN units u ON u.cid = r.unit WHERE r.assignment = ?',
  );
  for (const { acknowledged, held } of contributors) {
    expect(acknowledged.commits.size).toBeGreaterThan(0);
    for (const [assignment, { commitment }] of acknowledged.commits) {
      expect((row.get(assignment) as ReplicaRow | undefined)?.commitment).toBe(commitment);
    }
    for (const [assignment, { result }] of acknowledged.reveals) {
      expect((row.get(assignment) as ReplicaRow).digest).toBe(cidOfSync(result, cborCode));
    }
    for (const assignment of acknowledged.agreed.keys()) {
      const { phase, state, accepted, digest } = row.get(assignment) as ReplicaRow;
      expect({ phase, state }).toEqual({ phase: 'accepted', state: 'agreed' });
      expect(digest).toBe(accepted);
      const ours = held.get(assignment);
      if (ours) expect(accepted).toBe(cidOfSync(ours.result, cborCode));
    }
  }
}

/** The chain holds, every agreed replica was paid for exactly once and nobody else, and balances are the sums of what moved. */
function checkLedger(db: BetterSqlite3.Database): void {
  const stored = db.prepare('SELECT * FROM transfers ORDER BY seq').all() as StoredTransfer[];
  const transfers = stored.map(({ id: _id, amount, ...rest }) => ({ ...rest, amount: BigInt(amount) }));
  expect(brokenAt(transfers)).toBeNull();
  const paid = transfers.filter((transfer) => transfer.kind === 'earned').map((each) => each.assignment);
  const agreed = db.prepare("SELECT assignment FROM replicas WHERE state = 'agreed'").pluck().all() as Hex[];
  expect(paid.toSorted()).toEqual(agreed.toSorted());
  const sums = [...balanceChanges(transfers)].filter(([, balance]) => balance !== 0n);
  const accounts = db.prepare('SELECT id, balance FROM accounts').raw().all() as [string, string][];
  const balances = accounts.map(([id, balance]) => [id, BigInt(balance)] as const);
  expect(new Map(balances.filter(([, balance]) => balance !== 0n))).toEqual(new Map(sums));
  expect(balances.reduce((sum, [, balance]) => sum + balance, 0n)).toBe(0n);
}

test('ten kills in mid-round lose nothing that was acknowledged', { timeout: 180_000 }, async () => {
  const seed = Number(process.env['ATOLL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`kill moments: ATOLL_SEED=${seed}`);
  const dataDir = await temporaryFolder();
  let { child, port } = await startChild(dataDir, 0, manyRounds);
  const contributors = [0, 1, 2].map(() => new TestContributor(`http://127.0.0.1:${port}`).start());
  onTestFinished(() => {
    for (const contributor of contributors) contributor.stop();
  });
  for (let kill = 0; kill < kills; kill++) {
    await new Promise((resolve) => setTimeout(resolve, mix(seed, kill) % killMsMax));
    await killNow(child);
    const db = await openDatabase(dataDir);
    checkAcknowledgedSoFar(db, contributors, kill);
    db.close();
    ({ child } = await startChild(dataDir, port, manyRounds));
  }
  await killNow(child);
  const left = await openDatabase(dataDir);
  const closed = (left.prepare('SELECT count(*) AS n FROM rounds').get() as { n: number }).n;
  left.close();
  const rounds = closed + 2;
  ({ child } = await startChild(dataDir, port, rounds));
  const status = await finished(port);
  // A sealer's turn, so that the whole ledger is chained.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await killNow(child);
  const reference = await referenceRun(rounds);
  expect(status.rounds.slice(0, rounds).map((round) => round.checkpoint)).toEqual(reference.checkpoints);
  const db = await openDatabase(dataDir);
  checkAcknowledged(db, contributors);
  checkLedger(db);
});

/** Between kills only what has been acknowledged by then can be looked at; early ones may have nothing. */
function checkAcknowledgedSoFar(
  db: BetterSqlite3.Database,
  contributors: readonly TestContributor[],
  kill: number,
): void {
  const active = contributors.filter((contributor) => contributor.acknowledged.commits.size > 0);
  if (kill > 5) expect(active.length).toBeGreaterThan(0);
  checkAcknowledged(db, active);
}

async function finished(port: number): Promise<JobStatus> {
  const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).json();
  for (;;) {
    const { jobs } = (await get('/v1/jobs')) as { jobs: { id: string; state: string }[] };
    if (jobs[0]?.state === 'done') return (await get(`/v1/jobs/${jobs[0].id}`)) as JobStatus;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
