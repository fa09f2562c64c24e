/** The database, the blocks on disk and the lock: what is durable, and what happens when nothing more can be written. */
import { spawn } from 'node:child_process';
import { chmod, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { genesis, sealEntries } from '../ledger/ledger.ts';
import { temporaryFolder } from '../testing/harness.ts';
import { countBlobs, openBlobs } from './blobs.ts';
import { lockDataDir } from './lock.ts';
import type { NewUnit, Storage } from './port.ts';
import { GroupCommit } from './sqlite/group-commit.ts';
import { openSqliteStorage } from './sqlite/sqlite-storage.ts';

const hex = (n: number, bytes = 32): Hex => `0x${n.toString(16).padStart(2 * bytes, '0')}`;
const network = hex(1);
const job = cidOfSync(new TextEncoder().encode('job'), rawCode);
const programs = new Set(['p@1']);

function unit(n: number): NewUnit {
  const bytes = new TextEncoder().encode(`unit ${n}`);
  const slot = { round: 1, kind: 'train' as const, lane: n };
  return { slot, cid: cidOfSync(bytes, rawCode), bytes, program: 'p@1', operations: 1_000, blocks: [] };
}

async function openMemory(): Promise<Storage> {
  const storage = openSqliteStorage({ path: ':memory:', network, flushMs: 1 });
  await storage.addUnits(job, [unit(0)], 0);
  return storage;
}

let assignments = 1_000;
async function lease(storage: Storage, who: number, now = 0) {
  await storage.greet(hex(who, 20), now);
  const assignment = hex(assignments++);
  const request = { contributor: hex(who, 20), programs, assignment, random: assignments * 77_777, now };
  return storage.lease({ ...request, online: 1, held: null });
}

/** Leases, commits and reveals the same result for each of two contributors. */
async function agree(storage: Storage): Promise<void> {
  const leases = [await lease(storage, 1), await lease(storage, 2)];
  const held = leases.map((granted, i) => {
    if (granted.type !== 'lease') throw new Error(granted.reason);
    return { assignment: granted.assignment, contributor: hex(i + 1, 20), signature: hex(0), now: 1 };
  });
  for (const each of held) expect((await storage.commit({ ...each, commitment: hex(5) })).ok).toBe(true);
  const result = Uint8Array.of(1);
  for (const each of held) {
    const revealed = await storage.reveal({ ...each, salt: hex(6), digest: job, result });
    expect(revealed.ok).toBe(true);
  }
}

describe('units', () => {
  test('lease, commit, reveal, accept: verdicts, credit, blocks and the ledger in one step', async () => {
    const storage = await openMemory();
    await agree(storage);
    expect(await storage.agreedUnits()).toEqual([unit(0).cid]);
    expect(await storage.isPublic(job)).toBe(false);
    const accepted = await storage.accept(unit(0).cid, 1, [job], 9);
    expect(accepted.ok && accepted.verdicts.map((v) => [v.outcome, v.credit])).toEqual([
      ['agreed', 1_000],
      ['agreed', 1_000],
    ]);
    expect(await storage.isPublic(job)).toBe(true);
    expect(await storage.contributor(hex(1, 20))).toMatchObject({ agreed: 1, credit: 1_000n });
    expect(await storage.seal(10)).toBe(2);
    expect(await storage.seal(10)).toBe(0);
    expect((await storage.accept(unit(0).cid, 1, [], 10)).ok).toBe(false);
    await storage.close();
  });

  test('nobody gets a second replica of a unit', async () => {
    const storage = await openMemory();
    expect((await lease(storage, 1)).type).toBe('lease');
    expect(await lease(storage, 1)).toMatchObject({ type: 'none' });
    expect((await lease(storage, 2)).type).toBe('lease');
    expect(await lease(storage, 3)).toMatchObject({ type: 'none' });
    await storage.close();
  });

  test('a lease that ran out goes to another; resting jobs are not leased', async () => {
    const storage = await openMemory();
    await storage.setActiveJobs([]);
    expect((await lease(storage, 1)).type).toBe('none');
    await storage.setActiveJobs([job]);
    await lease(storage, 1);
    await lease(storage, 2);
    const late = 1e9;
    const changes = await storage.tick(late);
    expect(changes.flatMap((change) => change.transitions.map((t) => t.type))).toEqual([
      'expired',
      'expired',
    ]);
    expect((await lease(storage, 3, late)).type).toBe('lease');
    await storage.close();
  });

  test('credit beyond 2^53 is counted exactly', async () => {
    const storage = openSqliteStorage({ path: ':memory:', network, flushMs: 1 });
    const operations = Number.MAX_SAFE_INTEGER;
    for (let n = 0; n < 3; n++) {
      await storage.addUnits(job, [{ ...unit(n), operations }], 0);
      await agree(storage);
      await storage.accept(unit(n).cid, 1, [], 1);
    }
    expect((await storage.contributor(hex(1, 20)))?.credit).toBe(3n * BigInt(operations));
    await storage.close();
  });

  test('an unknown assignment is stale, an unknown unit is absent', async () => {
    const storage = await openMemory();
    const message = {
      assignment: hex(9),
      contributor: hex(1, 20),
      commitment: hex(1),
      signature: hex(1),
      now: 0,
    };
    expect(await storage.commit(message)).toMatchObject({ ok: false, code: 'stale_lease' });
    expect(await storage.unit(job)).toBeNull();
    await storage.close();
  });
});

describe('durability', () => {
  test('a reopened database goes on with its network id, its units and its sealed ledger', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    const first = openSqliteStorage({ path, network, flushMs: 1 });
    await first.addUnits(job, [unit(0)], 0);
    await agree(first);
    await first.accept(unit(0).cid, 1, [], 1);
    await first.seal(10);
    await first.close();
    const second = openSqliteStorage({ path, network: hex(2), flushMs: 1 });
    expect(second.network).toBe(network);
    expect((await second.unit(unit(0).cid))?.phase).toBe('accepted');
    await second.close();
    const db = new BetterSqlite3(path);
    type Row = {
      seq: number;
      unit: string;
      assignment: Hex;
      contributor: Hex;
      amount: number;
      postedAt: number;
      hash: Hex;
    };
    const rows = db
      .prepare(
        'SELECT seq, unit, assignment, contributor, amount, posted_at AS postedAt, hash FROM entries ORDER BY seq',
      )
      .all() as Row[];
    expect(rows).toEqual(
      sealEntries(
        { seq: 0, hash: genesis },
        rows.map(({ hash: _hash, ...entry }) => entry),
      ),
    );
    expect(() => db.exec('DELETE FROM entries')).toThrow('append-only');
    expect(() => db.exec('UPDATE entries SET amount = 1')).toThrow('append-only');
    db.close();
  });

  test('one failing operation takes nothing else of its batch with it', async () => {
    const db = new BetterSqlite3(':memory:');
    db.exec('CREATE TABLE t (x INTEGER UNIQUE)');
    const group = new GroupCommit(db, { flushMs: 1, batchMax: 10 });
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    const results = await Promise.allSettled([1, 2, 1, 3].map((x) => group.run(() => insert.run(x).changes)));
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
    expect(db.prepare('SELECT count(*) AS n FROM t').get()).toEqual({ n: 3 });
  });

  test('a full database fails every caller of the batch, keeps what was there, and works again with space', async () => {
    const db = new BetterSqlite3(join(await temporaryFolder(), 'db.sqlite'));
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE t (x BLOB)');
    db.pragma('max_page_count = 8');
    const group = new GroupCommit(db, { flushMs: 1, batchMax: 10 });
    const insert = db.prepare('INSERT INTO t VALUES (?)');
    await group.run(() => insert.run(Buffer.alloc(100)));
    const results = await Promise.allSettled(
      [10, 100_000, 10].map((size) => group.run(() => insert.run(Buffer.alloc(size)))),
    );
    for (const result of results) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'storage_failed', retryable: true },
      });
    }
    expect(db.prepare('SELECT count(*) AS n FROM t').get()).toEqual({ n: 1 });
    db.pragma('max_page_count = 1000');
    await group.run(() => insert.run(Buffer.alloc(100_000)));
    expect(db.prepare('SELECT count(*) AS n FROM t').get()).toEqual({ n: 2 });
    db.close();
  });

  test('a database of a newer version is refused', async () => {
    const path = join(await temporaryFolder(), 'db.sqlite');
    await openSqliteStorage({ path, network }).close();
    const db = new BetterSqlite3(path);
    db.pragma('user_version = 999');
    db.close();
    expect(() => openSqliteStorage({ path, network })).toThrow(/newer version/);
  });
});

describe('blocks', () => {
  test('are kept, verified when read, and shared by equal content', async () => {
    const folder = await temporaryFolder();
    const blobs = await openBlobs(folder);
    const bytes = Uint8Array.of(1, 2, 3);
    const cid = await blobs.put(bytes);
    expect(await blobs.put(bytes)).toBe(cid);
    expect(await blobs.get(cid)).toEqual(bytes);
    expect(await countBlobs(folder)).toBe(1);
    await writeFile(join(folder, cid.slice(-2), cid), Uint8Array.of(9));
    await expect(blobs.get(cid)).rejects.toMatchObject({ code: 'bad_block' });
    const absent = cidOfSync(Uint8Array.of(5), rawCode);
    await expect(blobs.get(absent)).rejects.toMatchObject({ code: 'not_found' });
    await expect(blobs.get('../../etc/passwd')).rejects.toMatchObject({ code: 'bad_request' });
    await expect(blobs.put(new Uint8Array((1 << 20) + 1))).rejects.toMatchObject({ code: 'too_large' });
  });

  test('a disk that takes no more gives storage_failed and leaves nothing half-written', async () => {
    const folder = await temporaryFolder();
    // A real limit on file size: the kernel refuses the write as it would on a full disk.
    const script = `
      const { openBlobs } = await import('#coordinator/storage/blobs.ts');
      const blobs = await openBlobs(${JSON.stringify(folder)});
      const small = await blobs.put(new Uint8Array(100));
      const failure = await blobs.put(new Uint8Array(900_000)).catch((error) => error.code);
      console.log(JSON.stringify({ failure, kept: (await blobs.get(small)).length }));`;
    const output = await runLimited(script);
    expect(JSON.parse(output)).toEqual({ failure: 'storage_failed', kept: 100 });
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    expect(await countBlobs(folder)).toBe(1);
  });

  test('what an earlier process left half-written is cleared', async () => {
    const folder = await temporaryFolder();
    await openBlobs(folder);
    await writeFile(join(folder, 'tmp', 'half'), 'x');
    await openBlobs(folder);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });
});

/** Runs a module in a child process whose files may not grow beyond 256 KiB. */
function runLimited(script: string): Promise<string> {
  const shell = `trap '' XFSZ; ulimit -f 256; exec "$0" --input-type=module -e "$1"`;
  const child = spawn('bash', ['-c', shell, process.execPath, script]);
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    child.on('error', reject);
    child.on('exit', () => resolve(output));
  });
}

describe('the data directory', () => {
  test('is for one coordinator at a time', async () => {
    const folder = await temporaryFolder();
    const lock = lockDataDir(folder);
    expect(() => lockDataDir(folder)).toThrowError(
      expect.objectContaining({
        code: 'bad_config',
        message: expect.stringContaining('Another coordinator') as string,
      }),
    );
    lock.release();
    lockDataDir(folder).release();
  });

  test('a lock dies with its process, even by kill -9', async () => {
    const folder = await temporaryFolder();
    const script = `
      const { lockDataDir } = await import('#coordinator/storage/lock.ts');
      globalThis.lock = lockDataDir(${JSON.stringify(folder)});
      console.log('locked');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()));
    expect(() => lockDataDir(folder)).toThrow('Another coordinator');
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    lockDataDir(folder).release();
  });

  test('that cannot be written is refused with the remedy', async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, 'file'), '');
    expect(() => lockDataDir(join(folder, 'file', 'below'))).toThrowError(
      expect.objectContaining({
        code: 'bad_config',
        message: expect.stringContaining('cannot be written') as string,
      }),
    );
    if (process.platform === 'linux') {
      expect(() => lockDataDir('/proc/atoll/below')).toThrow('cannot be written');
    }
    // Root may write anywhere, so permissions show only to others.
    if (process.getuid?.() === 0) return;
    await chmod(folder, 0o500);
    expect(() => lockDataDir(join(folder, 'below'))).toThrow('cannot be written');
  });
});
