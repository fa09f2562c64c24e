/** Checks of the machine: Node, memory, the data folder, room on the disk, the key. They leave nothing behind. */
import { randomUUID } from 'node:crypto';
import { open, rm, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { codeOf } from '#protocol/errors.ts';
import { sizeWords } from '../commands/status-text.ts';
import { type Config, labelOf } from '../config.ts';
import { statusOf } from '../control/client.ts';
import { loadSigner } from '../key-file.ts';
import { type CheckSpec, fail, type Finding, ok, warn } from './check.ts';

export interface MachinePorts {
  nodeVersion: string;
  /** Bytes that may still be taken, and that there are in all. */
  memory(): { available: number; total: number };
  /** Bytes that may still be written in an existing folder. */
  freeBytes(folder: string): Promise<number>;
}

const nodeMajorMin = 24;
const memoryMin = 256 << 20;
const memoryComfortable = 1 << 30;
const diskMin = 256 << 20;
/** Written to see whether it can be. */
const trialBytes = 64 << 10;
const quickMs = 10_000;

export const realMachine: MachinePorts = {
  nodeVersion: process.versions.node,
  memory() {
    const limit = process.constrainedMemory();
    return { available: process.availableMemory(), total: limit > 0 ? limit : process.availableMemory() };
  },
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

export function machineChecks(config: Config, ports: MachinePorts): CheckSpec[] {
  const quick = (id: string, title: string, run: CheckSpec['run']): CheckSpec => ({
    ...{ id, title, run },
    msMax: quickMs,
  });
  return [
    quick('node', 'Node', async () => nodeCheck(ports)),
    quick('memory', 'Memory', async () => memoryCheck(ports)),
    quick('data', 'Data folder', () => folderCheck(config.dataDir)),
    quick('disk', 'Room on the disk', () => diskCheck(config, ports)),
    quick('key', 'Key', () => keyCheck(config)),
    quick('name', 'Name', () => nameCheck(config)),
  ];
}

function nodeCheck({ nodeVersion }: MachinePorts): Finding {
  if (Number(nodeVersion.split('.')[0]) >= nodeMajorMin) return ok(`Node ${nodeVersion}.`);
  const fix =
    'Start it by `npx atoll node` or `npm run node --`, which bring Node 24, or install that from nodejs.org.';
  return fail(`Node ${nodeVersion} is too old; ${nodeMajorMin} is needed.`, fix);
}

function memoryCheck(ports: MachinePorts): Finding {
  const { available } = ports.memory();
  const words = `${sizeWords(available)} can be used.`;
  const fix = "Close programs that need much memory, or raise the container's limit.";
  if (available < memoryMin) return fail(`Only ${words} A node needs ${sizeWords(memoryMin)} at least.`, fix);
  if (available < memoryComfortable) return warn(`${words} Models of some size need more.`, fix);
  return ok(words);
}

/** The folder, or the one that it would be made in. */
async function nearestFolder(folder: string): Promise<string> {
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    const found = await stat(at).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (found && !found.isDirectory()) {
      throw Object.assign(new Error(`${at} is no folder.`), { code: 'ENOTDIR' });
    }
    if (found || at === path.dirname(at)) return at;
  }
}

async function folderCheck(dataDir: string): Promise<Finding> {
  let folder = dataDir;
  try {
    folder = await nearestFolder(dataDir);
    await writeTrial(folder);
    return ok(
      folder === path.resolve(dataDir)
        ? `${folder} can be written.`
        : `${dataDir} will be made in ${folder}.`,
    );
  } catch (error) {
    return folderFinding(folder, error as NodeJS.ErrnoException);
  }
}

function folderFinding(folder: string, { code = 'unknown' }: NodeJS.ErrnoException): Finding {
  const elsewhere = 'choose another folder with --data-dir';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const whose = code === 'EDQUOT' ? 'Your quota' : 'The disk';
    return fail(
      `${whose} is used up: nothing can be written in ${folder}.`,
      `Free some space, or ${elsewhere}.`,
    );
  }
  if (code === 'EROFS')
    return fail(`${folder} is on a read-only file system.`, `Mount it writable, or ${elsewhere}.`);
  if (code === 'EACCES' || code === 'EPERM') {
    return fail(
      `${folder} may not be written by this account.`,
      `Run \`chown "$USER" ${folder}\` as root, or ${elsewhere}.`,
    );
  }
  if (code === 'ENOTDIR') {
    return fail(
      `A file is where a folder should be, on the way to ${folder}.`,
      `Move it away, or ${elsewhere}.`,
    );
  }
  return fail(`${folder} cannot be written (${code}).`, `See what is wrong with it, or ${elsewhere}.`);
}

/** To the disk itself: a full one may tell only then. */
async function writeTrial(folder: string): Promise<void> {
  const file = path.join(folder, `.atoll-doctor-${randomUUID()}`);
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(Buffer.alloc(trialBytes, 1));
    await handle.sync();
  } finally {
    await handle.close();
    await rm(file, { force: true });
  }
}

async function diskCheck({ cacheDir, cacheBytes, dataDir }: Config, ports: MachinePorts): Promise<Finding> {
  try {
    const free = await ports.freeBytes(await nearestFolder(dataDir));
    if (free < diskMin) {
      const detail = `${sizeWords(free)} are free where ${dataDir} is; results that are to be revealed need ${sizeWords(diskMin)}.`;
      return fail(detail, 'Free some space, or choose a folder on another disk with --data-dir.');
    }
    const forBlocks = await ports.freeBytes(await nearestFolder(cacheDir));
    if (cacheBytes > forBlocks) {
      const detail = `Blocks may take ${sizeWords(cacheBytes)}, and ${sizeWords(forBlocks)} are free where ${cacheDir} is.`;
      return warn(detail, 'Lower --cache-bytes, or name a folder on another disk with --cache.');
    }
    return ok(`${sizeWords(free)} are free; blocks may take ${sizeWords(cacheBytes)}.`);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    return fail(`The free space cannot be told (${code}).`, 'See what is wrong with the data folder.');
  }
}

async function keyCheck({ keyFile }: Config): Promise<Finding> {
  const isThere = await stat(keyFile).then(
    () => true,
    () => false,
  );
  if (!isThere) return ok(`${keyFile} will be made at the first start.`);
  try {
    const { address } = await loadSigner(keyFile);
    return ok(`${keyFile} is for its owner only; the contributor is ${address}.`);
  } catch (error) {
    const [detail, fix] = splitRemedy((error as Error).message);
    return fail(detail, fix ?? 'Choose another with --key-file.');
  }
}

async function nameCheck(config: Config): Promise<Finding> {
  const name = labelOf(config);
  try {
    const status = await statusOf(config.dataDir, name);
    if (!status) return ok(`No other node is named "${name}" here.`);
    return ok(
      `A node named "${name}" runs already (process ${status.pid}); another needs a --name of its own.`,
    );
  } catch (error) {
    const detail = `The control socket of "${name}" cannot be used: ${(error as Error).message}`;
    const fix = `Look at what ${path.join(config.dataDir, `${name}.sock`)} is, and remove it if no node runs.`;
    return codeOf(error) === 'internal' ? warn(detail, fix) : warn(detail, 'Wait until it has started.');
  }
}

/** Our errors say first what is wrong, then what to do. */
export function splitRemedy(message: string): [string, string | undefined] {
  const [, first = message, rest = ''] = /^(.*?[.!?])\s+(\S.*)$/s.exec(message) ?? [];
  return [first, rest === '' ? undefined : rest];
}
