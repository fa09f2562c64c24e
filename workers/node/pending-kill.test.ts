/**
 * kill -9 of a contributor at random moments: every commitment that the coordinator has on record is opened after the next start. ATOLL_SEED=n replays the moments,
 * ATOLL_KILLS=n kills that often.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { defaultRules } from '#coordinator/consensus/consensus.ts';
import { mix } from '#coordinator/planner/random.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { temporaryFolder, testContributor, testCoordinator } from '#coordinator/testing/harness.ts';
import type { Hex } from 'viem';

const kills = Number(process.env['ATOLL_KILLS'] ?? 20);
/** A unit takes the child so long, and the one that it has to agree with up to thirty times as long: its commitments wait. */
const unitMs = 20;
const killMsMax = 300;
const revealMs = 5 * 60_000;

const waited = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

class Child {
  readonly process: ChildProcess;
  readonly lines: { message: string; contributor?: Hex; phase?: string; pending?: number }[] = [];
  readonly #heard = new Set<() => void>();

  constructor(url: string, keyFile: string) {
    const script = path.join(import.meta.dirname, 'testing/pending-child.ts');
    this.process = spawn(process.execPath, [script, url, keyFile, String(unitMs)]);
    onTestFinished(() => void this.process.kill('SIGKILL'));
    let text = '';
    this.process.stderr?.on('data', (data: Buffer) => process.stderr.write(data));
    this.process.stdout?.on('data', (data: Buffer) => {
      const lines = (text + data.toString()).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) this.lines.push(JSON.parse(line));
      for (const heard of this.#heard) heard();
    });
  }

  /** The first line that `is`. */
  async line(is: (line: Child['lines'][number]) => boolean): Promise<Child['lines'][number]> {
    for (;;) {
      const found = this.lines.find(is);
      if (found) return found;
      await new Promise<void>((resolve) => this.#heard.add(resolve));
    }
  }

  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await gone;
  }
}

interface Row {
  assignment: Hex;
  state: string;
  digest: string | null;
  phase: string;
}

async function committed(dataDir: string, contributor: Hex): Promise<Row[]> {
  const file = path.join(dataDir, 'atoll.sqlite');
  await (await openSqliteStorage({ path: file, network: '0x' })).close();
  const db = new BetterSqlite3(file);
  const query = `SELECT r.assignment, r.state, r.digest, u.phase FROM replicas r JOIN units u ON u.cid = r.unit
    WHERE r.contributor = ? AND r.commitment IS NOT NULL`;
  const rows = db.prepare(query).all(contributor) as Row[];
  db.close();
  return rows;
}

test(`${kills} kills at random moments lose no commitment`, { timeout: 900_000 }, async () => {
  const seed = Number(process.env['ATOLL_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`kill moments: ATOLL_SEED=${seed}`);
  const [dataDir, nodeDir] = [await temporaryFolder(), await temporaryFolder()];
  const keyFile = path.join(nodeDir, 'node.key');
  // A node that is killed every few hundred milliseconds may take longer than the usual 30 s to get its reveal out on a busy machine.
  const coordinator = await testCoordinator({ dataDir, rules: { ...defaultRules, revealMs } });
  const job = await coordinator.ensureJob(testJob({ lanes: 4 }), testText(), { stopAfterRounds: 10_000 });
  let turn = 0;
  const other = testContributor(coordinator, {
    onLease: async () => {
      await waited(mix(seed, 1_000 + turn++) % (30 * unitMs));
      return true;
    },
  }).start();
  let [address, restored, pendingAtKill]: [Hex | null, number, number] = [null, 0, 0];
  /** Assignments that a life which was killed had not seen settled. */
  const left = new Set<string>();
  for (let kill = 0; kill <= kills; kill++) {
    const child = new Child(coordinator.url, keyFile);
    address = (await child.line(({ contributor }) => contributor !== undefined)).contributor as Hex;
    await child.line(({ phase }) => phase === 'waiting' || phase === 'fetching' || phase === 'computing');
    if (child.lines.some(({ message }) => message.startsWith('Committed results'))) restored++;
    if (kill === kills) break;
    // Every other life is ended soon after it has committed to something.
    const busy = child.line(({ pending = 0 }) => pending > 0);
    const soon = kill % 2 === 1;
    if (soon) await Promise.race([busy, waited(10 * killMsMax)]);
    await waited(mix(seed, kill) % (soon ? unitMs : killMsMax));
    await child.kill();
    const names = await readdir(path.join(nodeDir, 'node.pending')).catch(() => [] as string[]);
    const files = names.filter((name) => name.endsWith('.replica'));
    for (const name of files) left.add(`0x${name.slice(0, -'.replica'.length)}`);
    if (files.length > 0) pendingAtKill++;
  }
  const rounds = (await coordinator.status(job)).rounds.length;
  await coordinator.settled(job, rounds + 2);
  other.stop();
  await coordinator.close();
  const rows = await committed(dataDir, address as Hex);
  const atRisk = rows.filter(({ assignment }) => left.has(assignment));
  console.log({ kills, pendingAtKill, restored, committed: rows.length, atRisk: atRisk.length });
  expect(restored).toBe(pendingAtKill);
  // Two contributors, so a unit is decided by both: one that is, and in which a commitment was never opened, had to do without it.
  const decided = rows.filter(({ phase }) => phase === 'accepted');
  expect(decided.length).toBeGreaterThan(8); // the last two rounds alone
  expect(decided.filter(({ digest }) => digest === null)).toEqual([]);
  expect(atRisk.filter(({ digest }) => digest === null)).toEqual([]);
});
