/**
 * A real PostgreSQL for tests and benches: a cluster of its own in a temporary folder, on a free loopback port, durable (fsync on), gone
 * afterwards. It can be stopped, killed and started again on the same port, as a test of failures needs.
 */
import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AtollError } from '#protocol/errors.ts';
import pg from 'pg';
import { freePort, type Guarded, serviceAccount, serviceFolder, startGuarded } from './guarded.ts';
import { programs, requireProgram } from './install.ts';

export interface PostgresServer {
  readonly port: number;
  /** Of the server's main process at present. */
  readonly pid: number;
  /** Folder of `pg_dump` and its like. */
  readonly bin: string;
  /** Makes an empty database and resolves with its URL. */
  createDatabase(): Promise<string>;
  /** `fast` ends sessions in order; `crash` is kill -9 of the main process. Resolves when nothing of it runs any more. */
  halt(how: 'fast' | 'crash'): Promise<void>;
  /** Starts it again after `halt`, on the same port. */
  resume(): Promise<void>;
  /** Stops it for good and removes its folder. */
  stop(): Promise<void>;
}

const superuser = 'atoll';
const portTries = 5;

/** Starts a server; `settings` are `name=value` of postgresql.conf. Throws `unavailable` with the reason when there is none to be had. */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const bin = dirname(await requireProgram(programs.postgres));
  const folder = await serviceFolder('atoll-postgres-');
  const data = join(folder, 'data');
  try {
    await makeCluster(bin, data);
    const { port, running } = await startOnFreePort(bin, data, settings);
    return new Server(bin, folder, port, settings, running);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

class Server implements PostgresServer {
  readonly bin: string;
  readonly port: number;
  readonly #folder: string;
  readonly #settings: readonly string[];
  #running: Guarded;
  #databases = 0;

  constructor(bin: string, folder: string, port: number, settings: readonly string[], running: Guarded) {
    this.bin = bin;
    this.port = port;
    this.#folder = folder;
    this.#settings = settings;
    this.#running = running;
  }

  get pid(): number {
    return this.#running.pid;
  }

  async createDatabase(): Promise<string> {
    const name = `test_${++this.#databases}`;
    const client = new pg.Client({ connectionString: this.#url('postgres') });
    await client.connect();
    try {
      await client.query(`CREATE DATABASE ${name}`);
    } finally {
      await client.end();
    }
    return this.#url(name);
  }

  async halt(how: 'fast' | 'crash'): Promise<void> {
    this.#running.signal(how === 'fast' ? 'SIGINT' : 'SIGKILL');
    await this.#running.ended;
  }

  async resume(): Promise<void> {
    // After kill -9 the children of the old server may need a moment to notice; until then the new one refuses to start.
    for (let tries = 0; ; tries++) {
      try {
        this.#running = await start(this.bin, join(this.#folder, 'data'), this.port, this.#settings);
        return;
      } catch (error) {
        if (tries === 20) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async stop(): Promise<void> {
    await this.#running.stop();
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  #url(database: string): string {
    return `postgres://${superuser}@127.0.0.1:${this.port}/${database}`;
  }
}

async function startOnFreePort(bin: string, data: string, settings: readonly string[]) {
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      return { port, running: await start(bin, data, port, settings) };
    } catch (error) {
      if (tries === portTries) throw error;
    }
  }
}

function start(bin: string, data: string, port: number, settings: readonly string[]): Promise<Guarded> {
  const own = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=100'];
  const args = [...own, ...settings].flatMap((setting) => ['-c', setting]);
  return startGuarded({
    command: join(bin, 'postgres'),
    args: ['-D', data, '-p', String(port), ...args],
    stopSignal: 'INT',
    ready: /database system is ready to accept connections/,
  });
}

/** The new cluster's own files need no fsync: what a test makes of them does. */
async function makeCluster(bin: string, data: string): Promise<void> {
  const args = ['-D', data, '-U', superuser, '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'];
  const child = spawn(join(bin, 'initdb'), args, {
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...serviceAccount(),
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0) throw new AtollError('unavailable', `initdb failed:\n${output.slice(-1000)}`);
}
