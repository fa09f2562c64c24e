/**
 * Programs of services that the tests run against: found on this machine, or installed from Debian's packages where this is root on Debian.
 *
 * Nothing that a package would start by itself is started: Debian's PostgreSQL is told not to make a cluster of its own.
 */
import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';

export interface Program {
  /** Name of the executable. */
  name: string;
  /** The variable that names it outright. */
  variable: string;
  /** Folders besides PATH to look in, best first. */
  folders: () => string[];
  /** Debian's package. */
  packageName: string;
}

/** Debian keeps the server's programs out of PATH, a folder for each version; the newest comes first. */
function debianPostgres(): string[] {
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return [];
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => path.join(root, version, 'bin'));
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
export async function requireProgram(program: Program, install = installFromDebian): Promise<string> {
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
    if (code !== 0) throw unavailable(program, `apt-get ${args[2]} failed: ${output.trim()}`);
  }
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

function runQuietly(command: string, args: string[]): Promise<{ code: number | null; output: string }> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: installMsMax });
    let output = '';
    const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-1000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', (error) => resolve({ code: null, output: error.message }));
    child.on('close', (code) => resolve({ code, output }));
  });
}
