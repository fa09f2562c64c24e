/** The headless contributor's settings: flags, then environment, then defaults; parsed once and frozen. */
import { availableParallelism, homedir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { threadsMax } from '#kernels/index.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { contributeUrl } from '../transport/web-socket.ts';

export const exitCodes = {
  stopped: 0,
  unexpected: 1,
  badConfig: 2,
  noDevice: 3,
  nonconforming: 4,
  refused: 5,
  deviceFailed: 6,
} as const;

export const help = `Usage: node --import ./scripts/raw-hooks.ts workers/node/main.ts --url URL [options]

Contributes this machine to an Atoll network until it is stopped.

  --url URL              address of the coordinator, such as http://127.0.0.1:8080   (ATOLL_URL)
  --backend NAME         auto (WebGPU on a graphics processor, else WebAssembly),    (ATOLL_BACKEND, auto)
                         webgpu, wasm, or reference (to check with; slow);
                         one that is named never falls back
  --threads N            threads of WebAssembly, 1 to ${threadsMax}; a core is left free      (ATOLL_THREADS, by cores)
  --allow-software       let WebGPU use a software adapter, for tests
  --name LABEL           shown with the device, and names the key file               (ATOLL_NAME)
  --data-dir DIR         where the key and a GPU's tuned shapes are kept             (ATOLL_DATA_DIR, ~/.local/share/atoll)
  --cache DIR            downloaded blocks are kept here over restarts; contributors  (ATOLL_CACHE, DIR/blocks)
                         of one machine may share it
  --cache-bytes N        how much of that at most; 0 keeps them in memory only       (ATOLL_CACHE_BYTES, ${limits.keptBytesMax})
  --peers CHOICE         blocks from other contributors: relay-only (through the     (ATOLL_PEERS, relay-only)
                         network's TURN server, if it has one), direct (faster;
                         others then see this machine's address) or off
  --upload-max N         bytes a second that others are given at most, 64 KiB or     (ATOLL_UPLOAD_MAX, no cap)
                         more; with --peers off nothing is given
  --download-max N       the same of what comes from others                          (ATOLL_DOWNLOAD_MAX, no cap)
  --key-file FILE        the key itself; made with mode 0600 if it is missing        (ATOLL_KEY_FILE, DIR/LABEL.key)
  --log-level LEVEL      debug, info, warn, error or silent                          (ATOLL_LOG_LEVEL, info)
  --exit-with-parent     stop when standard input closes
  --help                 this text

Logs are JSON lines on standard output. SIGINT or SIGTERM gives the unit in hand back and stops; a second one stops at once.

Exit codes
  0  stopped on request
  1  an unexpected error; the log has it
  2  a setting is not usable
  3  no device: the backend that was asked for is not there
  4  the device gave other bits than the reference in the conformance probe
  5  the coordinator refused this contributor
  6  the device was lost, is too small or too slow, or its programs kept failing
`;

const threadsWords = `--threads takes a whole number from 1 to ${threadsMax}`;

/** Threads by default: one core is left to the rest of the machine, and beyond eight little is gained. */
function defaultThreads(): number {
  return Math.max(1, Math.min(8, availableParallelism() - 1));
}

const rateMin = 64 * 1024;

/** A cap in bytes a second; none unless given. */
const rateSchema = (flag: string) => {
  const words = `${flag} takes a number of bytes a second, ${rateMin} or more`;
  return v.optional(
    v.pipe(v.string(), v.regex(/^\d{1,15}$/, words), v.transform(Number), v.minValue(rateMin, words)),
  );
};

const labelSchema = v.pipe(
  v.string(),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/,
    '--name takes up to 60 letters, digits, dots, hyphens and underscores',
  ),
);

const configSchema = v.object({
  url: v.pipe(v.string('--url is missing'), v.minLength(1, '--url is missing')),
  backend: v.picklist(
    ['auto', 'webgpu', 'wasm', 'reference'],
    '--backend must be auto, webgpu, wasm or reference',
  ),
  allowSoftware: v.boolean(),
  threads: v.pipe(
    v.string(),
    v.regex(/^\d{1,2}$/, threadsWords),
    v.transform(Number),
    v.minValue(1, threadsWords),
    v.maxValue(threadsMax, threadsWords),
  ),
  name: v.optional(labelSchema),
  keyFile: v.string(),
  tuningFile: v.string(),
  cacheDir: v.string(),
  cacheBytes: v.pipe(
    v.string(),
    v.regex(/^\d{1,15}$/, '--cache-bytes takes a number of bytes'),
    v.transform(Number),
  ),
  peers: v.picklist(['off', 'relay-only', 'direct'], '--peers must be off, relay-only or direct'),
  uploadMax: rateSchema('--upload-max'),
  downloadMax: rateSchema('--download-max'),
  logLevel: v.picklist(
    ['debug', 'info', 'warn', 'error', 'silent'],
    '--log-level must be debug, info, warn, error or silent',
  ),
  exitWithParent: v.boolean(),
});
export type Config = Readonly<v.InferOutput<typeof configSchema>>;

/** `help` when that was asked for. Throws `bad_config`. */
export function parseConfig(args: string[], env: NodeJS.ProcessEnv): Config | 'help' {
  const flags = parseFlags(args);
  if (flags.help) return 'help';
  const name = flags.name ?? env['ATOLL_NAME'];
  const dataDir = flags['data-dir'] ?? env['ATOLL_DATA_DIR'] ?? defaultDataDir(env);
  const parsed = v.safeParse(configSchema, {
    url: flags.url ?? env['ATOLL_URL'],
    backend: flags.backend ?? env['ATOLL_BACKEND'] ?? 'auto',
    allowSoftware: flags['allow-software'] ?? false,
    threads: flags.threads ?? env['ATOLL_THREADS'] ?? String(defaultThreads()),
    name,
    keyFile: flags['key-file'] ?? env['ATOLL_KEY_FILE'] ?? path.join(dataDir, `${name ?? 'contributor'}.key`),
    cacheDir: flags.cache ?? env['ATOLL_CACHE'] ?? path.join(dataDir, 'blocks'),
    cacheBytes: flags['cache-bytes'] ?? env['ATOLL_CACHE_BYTES'] ?? String(limits.keptBytesMax),
    peers: flags.peers ?? env['ATOLL_PEERS'] ?? 'relay-only',
    uploadMax: flags['upload-max'] ?? env['ATOLL_UPLOAD_MAX'],
    downloadMax: flags['download-max'] ?? env['ATOLL_DOWNLOAD_MAX'],
    tuningFile: path.join(dataDir, 'gpu-tuning.json'),
    logLevel: flags['log-level'] ?? env['ATOLL_LOG_LEVEL'] ?? 'info',
    exitWithParent: flags['exit-with-parent'] ?? false,
  });
  if (!parsed.success) throw badConfig(parsed.issues[0].message);
  contributeUrl(parsed.output.url); // refuses what is no http(s) address
  return Object.freeze(parsed.output);
}

function parseFlags(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        url: { type: 'string' },
        backend: { type: 'string' },
        'allow-software': { type: 'boolean' },
        threads: { type: 'string' },
        name: { type: 'string' },
        'data-dir': { type: 'string' },
        'key-file': { type: 'string' },
        cache: { type: 'string' },
        'cache-bytes': { type: 'string' },
        peers: { type: 'string' },
        'upload-max': { type: 'string' },
        'download-max': { type: 'string' },
        'log-level': { type: 'string' },
        'exit-with-parent': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw badConfig((error as Error).message);
  }
}

function defaultDataDir(env: NodeJS.ProcessEnv): string {
  return path.join(env['XDG_DATA_HOME'] || path.join(homedir(), '.local', 'share'), 'atoll');
}

function badConfig(message: string): AtollError {
  return new AtollError('bad_config', `${message.replace(/\.$/, '')}. See --help.`);
}
