/**
 * Evidence from a data directory. Nothing in it is changed: the database is copied through SQLite's own backup (consistent even while a
 * coordinator writes), and the chain of a stopped network is started on a copy of its state.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { type Anvil, startAnvil } from '#coordinator/anchor/anvil.ts';
import { Directory } from '#coordinator/service/directory.ts';
import { systemClock, systemRandom } from '#coordinator/service/ports.ts';
import { Queries } from '#coordinator/service/queries.ts';
import { blobPath } from '#coordinator/storage/blobs.ts';
import { lockDataDir } from '#coordinator/storage/lock.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { places, readContract } from '../network.ts';
import type { AuditSource, ChainAccess } from './source.ts';

/** Throws `bad_config` when there is no network's state at `dataDir`. */
export async function dataDirSource(dataDir: string): Promise<AuditSource> {
  const database = path.join(dataDir, 'atoll.sqlite');
  if (!existsSync(database)) {
    throw new AtollError(
      'bad_config',
      `There is no network's state in ${dataDir}. Name its folder with --data-dir, or a running coordinator with --url.`,
    );
  }
  const work = mkdtempSync(path.join(tmpdir(), 'atoll-audit-'));
  const copy = path.join(work, 'atoll.sqlite');
  await copyDatabase(database, copy);
  const storage = await openSqliteStorage({ path: copy, network: systemRandom.bytes32() });
  const block = readBlock(path.join(dataDir, 'blobs'));
  const queries = new Queries({
    storage,
    blobs: { get: block, put: readOnly, has: readOnly },
    directory: new Directory(systemClock),
    progressOf: () => 0,
    stopAfter: () => null,
  });
  let anvil: Anvil | null = null;

  const units = async () => {
    const found = new Set<Cid>();
    for (const { id } of (await storage.jobs()).toReversed()) {
      for (const { round } of await storage.rounds(id)) {
        for (const slot of await storage.slotsOfRound(id, round)) found.add(slot.unit);
      }
    }
    return [...found];
  };
  const chain = async (signal?: AbortSignal): Promise<ChainAccess | { reason: string }> => {
    const info = readContract(dataDir);
    if (!info) return { reason: 'this network was never started with a chain' };
    const { rpcUrl, contract, fromBlock } = info;
    const access = { contract, ...(fromBlock === undefined ? {} : { fromBlock }) };
    if (isRunning(dataDir)) return { rpcUrl, ...access };
    anvil ??= await startCopy(places.chain(dataDir), path.join(work, 'chain'), signal);
    return anvil
      ? { rpcUrl: anvil.rpcUrl, ...access }
      : { reason: 'the state of the embedded chain is gone' };
  };
  const close = async () => {
    await anvil?.stop();
    await storage.close();
    rmSync(work, { recursive: true, force: true });
  };
  return { unit: (cid) => queries.unit(cid), units, block, chain, close };
}

async function copyDatabase(from: string, to: string): Promise<void> {
  const db = new BetterSqlite3(from, { readonly: true, fileMustExist: true });
  try {
    await db.backup(to);
  } finally {
    db.close();
  }
}

function readBlock(dir: string) {
  return async (cid: Cid, signal?: AbortSignal): Promise<Uint8Array> => {
    try {
      return new Uint8Array(await readFile(blobPath(dir, cid), signal ? { signal } : {}));
    } catch (cause) {
      throw new AtollError('not_found', `The block ${cid} is not in the data directory.`, { cause });
    }
  };
}

async function readOnly(): Promise<never> {
  throw new AtollError('internal', 'An audit writes nothing.');
}

/** Whether a coordinator holds the directory; one that may not even be written to is held by nobody of ours. */
function isRunning(dataDir: string): boolean {
  try {
    lockDataDir(dataDir).release();
    return false;
  } catch (error) {
    return (error as { cause?: { code?: string } }).cause?.code === 'SQLITE_BUSY';
  }
}

async function startCopy(from: string, to: string, signal?: AbortSignal): Promise<Anvil | null> {
  const files = ['state.json', 'state.backup.json'].filter((name) => existsSync(path.join(from, name)));
  if (files.length === 0) return null;
  mkdirSync(to, { recursive: true });
  for (const name of files) copyFileSync(path.join(from, name), path.join(to, name));
  return startAnvil({ dir: to }, signal);
}
