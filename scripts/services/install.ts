/**
 * Programs that the tests run against: found on this machine, or installed from Debian's packages where this is root on Debian.
 *
 * Nothing that a package would start by itself is started: Debian's PostgreSQL is told not to make a cluster of its own, and coturn, whose package starts a
 * server for the whole network, is only unpacked into `.tools/`, which needs no root.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';
import { root } from '../run-tool.ts';

export interface Program {
  /** Name of the executable. */
  name: string;
  /** The variable that names it outright. */
  variable: string;
  /** Folders besides PATH to look in, best first. */
  folders: () => string[];
  /** Debian's package. */
  packageName: string;
  /** Unpacked into `.tools/` with what it needs, not installed. */
  isUnpacked?: boolean;
}

/** Debian keeps the server's programs out of PATH, a folder for each version; the newest comes first. */
function debianPostgres(): string[] {
  const all = '/usr/lib/postgresql';
  if (!existsSync(all)) return [];
  const versions = readdirSync(all).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => path.join(all, version, 'bin'));
}

export const programs = {
  postgres: {
    name: 'postgres',
    variable: 'ATOLL_POSTGRES',
    folders: () => [...debianPostgres(), '/opt/homebrew/bin', '/usr/local/pgsql/bin'],
    packageName: 'postgresql',
  },
  nats: {
    name: 'nats-server',
    variable: 'ATOLL_NATS_SERVER',
    folders: () => ['/usr/sbin', '/opt/homebrew/bin'],
    packageName: 'nats-server',
  },
  turn: {
    name: 'turnserver',
    variable: 'ATOLL_TURNSERVER',
    folders: () => [path.join(unpackedFolder('coturn'), 'usr/bin'), '/usr/bin', '/opt/homebrew/bin'],
    packageName: 'coturn',
    isUnpacked: true,
  },
  /** Makes CUDA kernels run on the processor. */
  compiler: {
    name: 'g++',
    variable: 'ATOLL_CXX',
    folders: () => [],
    packageName: 'g++',
  },
} satisfies Record<string, Program>;

/** The path of a program that is already there, or undefined. */
export function findProgram(program: Program, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = env[program.variable];
  if (named) return isExecutable(named) ? named : undefined;
  const onPath = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  return [...program.folders(), ...onPath]
    .map((folder) => path.join(folder, program.name))
    .find(isExecutable);
}

/** The path of a program, installed if need be. Throws `unavailable` with the reason when it cannot be had. */
export async function requireProgram(
  program: Program,
  install = program.isUnpacked ? unpackFromDebian : installFromDebian,
): Promise<string> {
  const found = findProgram(program);
  if (found) return found;
  await onceARun(program, () => install(program));
  const installed = findProgram(program);
  if (installed) return installed;
  throw unavailable(program, 'it was installed and is still not found');
}

/**
 * The files of a test run are processes of their own, and one try may take minutes: what could not be installed for one of them is not tried
 * again for the next. The process that begins the run tries first.
 */
async function onceARun(program: Program, install: () => Promise<void>): Promise<void> {
  const run = process.env['VITEST'] ? process.ppid : process.pid;
  const note = path.join(tmpdir(), `atoll-without-${program.name}-${run}`);
  if (isFresh(note)) throw unavailable(program, readFileSync(note, 'utf8'));
  try {
    await install();
  } catch (error) {
    const { why } = (error as Partial<AtollError>).details ?? {};
    writeFileSync(note, String(why ?? (error as Error).message), { mode: 0o600 });
    throw error;
  }
}

/** Another run may have had the same process id long ago. */
function isFresh(note: string): boolean {
  const { mtimeMs } = statSync(note, { throwIfNoEntry: false }) ?? { mtimeMs: -Infinity };
  return Date.now() - mtimeMs < runMsMax;
}

const runMsMax = 60 * 60_000;

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function unavailable({ name, variable, packageName }: Program, why: string): AtollError {
  return new AtollError(
    'unavailable',
    `There is no ${name} here: ${why}. Install it (Debian: ${packageName}), or set ${variable} to its path.`,
    { details: { why } },
  );
}

async function installFromDebian(program: Program): Promise<void> {
  if (process.env[program.variable]) {
    throw unavailable(program, `${program.variable} names no executable file`);
  }
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw unavailable(program, 'this is not root on Debian, so it cannot be installed');
  }
  process.stderr.write(`atoll: no ${program.name} here; installing Debian's ${program.packageName}\n`);
  if (program.packageName === 'postgresql') makeNoCluster();
  const wait = ['-o', 'DPkg::Lock::Timeout=120'];
  const install = ['install', '-y', '-qq', '--no-install-recommends', program.packageName];
  for (const args of [
    [...wait, 'update', '-qq'],
    [...wait, ...install],
  ]) {
    const { code, output } = await runQuietly('apt-get', args);
    if (code !== 0) throw unavailable(program, `apt-get ${args[2]} failed: ${output.trim().slice(-1000)}`);
  }
}

const unpackedFolder = (packageName: string) => path.join(root, '.tools', packageName);

/** The variables that an unpacked program needs to find its libraries. */
export function environmentOf(program: Program): Record<string, string> {
  const libraries = path.join(unpackedFolder(program.packageName), 'usr/lib');
  if (!program.isUnpacked || !existsSync(libraries)) return {};
  const folders = readdirSync(libraries).filter((name) => name.endsWith('-linux-gnu'));
  const inherited = process.env['LD_LIBRARY_PATH'] ?? '';
  const all = [...folders.map((name) => path.join(libraries, name)), inherited].filter(Boolean);
  return { LD_LIBRARY_PATH: all.join(path.delimiter) };
}

/** The package and those of its dependencies that are not installed here. */
async function unpackFromDebian(program: Program): Promise<void> {
  if (process.env[program.variable]) {
    throw unavailable(program, `${program.variable} names no executable file`);
  }
  if (!existsSync('/usr/bin/apt-get')) throw unavailable(program, 'this is not Debian');
  process.stderr.write(`atoll: no ${program.name} here; unpacking Debian's ${program.packageName}\n`);
  mkdirSync(path.join(root, '.tools'), { recursive: true });
  const folder = mkdtempSync(path.join(root, '.tools', `${program.packageName}-`));
  try {
    const first = await unpackInto(folder, program);
    // The list of packages may be missing or old; only root can renew it.
    const isRoot = process.getuid?.() === 0;
    if (first && isRoot) await runQuietly('apt-get', ['-o', 'DPkg::Lock::Timeout=120', 'update', '-qq']);
    const why = first && isRoot ? await unpackInto(folder, program) : first;
    if (why) throw unavailable(program, why);
    renameSync(folder, unpackedFolder(program.packageName));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Why it could not be unpacked; null when it was. */
async function unpackInto(folder: string, { packageName }: Program): Promise<string | null> {
  const planned = await runQuietly('apt-get', ['install', '-s', '--no-install-recommends', packageName]);
  const names = [...planned.output.matchAll(/^Inst (\S+)/gm)].map((found) => found[1] as string);
  if (planned.code !== 0 || names.length === 0)
    return `apt-get install -s failed: ${planned.output.trim().slice(-1000)}`;
  const download = ['-o', 'APT::Sandbox::User=root', 'download', '-qq', ...names];
  const fetched = await runQuietly('apt-get', download, folder);
  if (fetched.code !== 0) return `apt-get download failed: ${fetched.output.trim().slice(-1000)}`;
  for (const archive of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    const { code, output } = await runQuietly('dpkg', ['-x', archive, '.'], folder);
    if (code !== 0) return `dpkg -x ${archive} failed: ${output.trim()}`;
    rmSync(path.join(folder, archive));
  }
  return null;
}

/** Debian's package makes a cluster and starts it, unless a file says otherwise before it comes. */
function makeNoCluster(): void {
  const file = '/etc/postgresql-common/createcluster.conf';
  if (existsSync(file)) return;
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, 'create_main_cluster = false\n');
}

/** Where nobody answers for a while (no network, a proxy that hangs) the tests go on without. */
const installMsMax = 240_000;
const keptCharacters = 20_000;

/** Keeps the last of what it said. */
function runQuietly(
  command: string,
  args: string[],
  cwd = '/',
): Promise<{ code: number | null; output: string }> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: installMsMax,
    });
    let output = '';
    const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-keptCharacters));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => resolve({ code: null, output: error.message }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
