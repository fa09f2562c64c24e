/**
 * The one table of the headless contributor's options. The parser, `--help`, the config file, `config print` and docs/node.md come from it.
 *
 * To add an option, add a row here and a field in config.ts. A row without `env` is for the command line alone.
 */
import { availableParallelism, homedir } from 'node:os';
import path from 'node:path';
import { threadsMax } from '#kernels/index.ts';
import { limits } from '#protocol/limits.ts';
import {
  address,
  choice,
  dataCaps,
  file,
  toggle,
  hours,
  type Kind,
  manyGpus,
  oneGpu,
  text,
  whole,
} from './option-kinds.ts';

export type Group = 'network' | 'device' | 'storage' | 'sharing' | 'operation' | 'settings';

export const groupTitles: Record<Group, string> = {
  network: 'Network',
  device: 'Device',
  storage: 'Files',
  sharing: 'Blocks from and to other contributors',
  operation: 'Operation',
  settings: 'Settings',
};

export interface OptionSpec<T = unknown> {
  group: Group;
  kind: Kind<T>;
  /** Behind the flag in place of the kind's own word. */
  takes?: string;
  env?: string;
  /** The value in its absence, as text. */
  initial?: string | ((env: NodeJS.ProcessEnv) => string);
  /** The default in words, where `initial` is not said as it is. */
  initially?: string;
  help: string;
}

/** With a default there is always a value. */
export interface Filled<T> extends OptionSpec<T> {
  initial: string | ((env: NodeJS.ProcessEnv) => string);
}

function filled<T>(spec: Filled<T>): Filled<T> {
  return spec;
}

function open<T>(spec: OptionSpec<T>): OptionSpec<T> & { initial?: never } {
  return spec as OptionSpec<T> & { initial?: never };
}

const rateMin = 64 * 1024;
const rate = whole(rateMin, 1e15, `a number of bytes a second, ${rateMin} or more`);
const off = { kind: toggle, initial: 'false', initially: 'off' };

export const options = {
  url: open({
    group: 'network',
    kind: address,
    env: 'ATOLL_URL',
    help: 'address of the coordinator, such as http://127.0.0.1:4400; needed to run',
  }),
  name: open({
    group: 'network',
    kind: text(
      'LABEL',
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/,
      'up to 60 letters, digits, dots, hyphens and underscores',
    ),
    env: 'ATOLL_NAME',
    help: 'shown with the device; names the key file and the control socket, so each node of one data folder needs its own',
  }),
  referee: filled({
    ...off,
    group: 'network',
    env: 'ATOLL_REFEREE',
    help: "work as the coordinator's referee and fallback: units that are split or sampled, and whole lanes where no browser is; the coordinator must name this contributor in ATOLL_REFEREES",
  }),
  'accept-identity': filled({
    ...off,
    group: 'network',
    help: 'take the identity that the coordinator has now, once, in place of the one that was pinned at the first connection',
  }),
  backend: filled({
    group: 'device',
    kind: choice('auto', 'cuda', 'webgpu', 'wasm', 'reference'),
    takes: 'NAME',
    env: 'ATOLL_BACKEND',
    initial: 'auto',
    help: 'auto (CUDA on an NVIDIA GPU, else WebGPU, else WebAssembly), cuda, webgpu, wasm, or reference (to check with; slow); one that is named never falls back',
  }),
  gpu: open({
    group: 'device',
    kind: oneGpu,
    env: 'ATOLL_GPU',
    help: 'the one NVIDIA GPU to compute on, by index or UUID (MIG instances too); the first unless given',
  }),
  gpus: open({
    group: 'device',
    kind: manyGpus,
    env: 'ATOLL_GPUS',
    help: 'a contributor of its own for each NVIDIA GPU: all, or a list of indices and UUIDs (MIG instances too, as 0:1 or by UUID); none computes in this process',
  }),
  nvrtc: open({
    group: 'device',
    kind: file('FILE'),
    env: 'ATOLL_NVRTC',
    help: "the library NVRTC, which compiles the CUDA kernels; found in the CUDA toolkit, the system's libraries and pip's packages unless given",
  }),
  threads: filled({
    group: 'device',
    kind: whole(1, threadsMax),
    env: 'ATOLL_THREADS',
    initial: () => String(Math.max(1, Math.min(8, availableParallelism() - 1))),
    initially: 'cores less one, 8 at most',
    help: `threads of WebAssembly, 1 to ${threadsMax}`,
  }),
  'allow-software': filled({
    ...off,
    group: 'device',
    env: 'ATOLL_ALLOW_SOFTWARE',
    help: 'let WebGPU use a software adapter, for tests',
  }),
  'data-dir': filled({
    group: 'storage',
    kind: file('DIR'),
    env: 'ATOLL_DATA_DIR',
    initial: (env) => path.join(env['XDG_DATA_HOME'] || path.join(homedir(), '.local', 'share'), 'atoll'),
    initially: '~/.local/share/atoll',
    help: "where the key, results that are to be revealed, compiled kernels and a GPU's tuned shapes are kept",
  }),
  'key-file': open({
    group: 'storage',
    kind: file('FILE'),
    env: 'ATOLL_KEY_FILE',
    initially: 'DATA/LABEL.key',
    help: 'the key; made with mode 0600 if it is missing',
  }),
  cache: open({
    group: 'storage',
    kind: file('DIR'),
    env: 'ATOLL_CACHE',
    initially: 'DATA/blocks',
    help: 'downloaded blocks are kept here over restarts; contributors of one machine may share it',
  }),
  'cache-bytes': filled({
    group: 'storage',
    kind: whole(0, 1e15, 'a number of bytes'),
    env: 'ATOLL_CACHE_BYTES',
    initial: String(limits.keptBytesMax),
    help: 'how much of that at most; 0 keeps them in memory only',
  }),
  peers: filled({
    group: 'sharing',
    kind: choice('off', 'relay-only', 'direct'),
    env: 'ATOLL_PEERS',
    initial: 'relay-only',
    help: "relay-only (through the network's TURN server, if it has one), direct (faster; others then see this machine's address) or off",
  }),
  'upload-max': open({
    group: 'sharing',
    kind: rate,
    env: 'ATOLL_UPLOAD_MAX',
    initially: 'no cap',
    help: 'bytes a second that others are given at most, 64 KiB or more; with --peers off nothing is given',
  }),
  'download-max': open({
    group: 'sharing',
    kind: rate,
    env: 'ATOLL_DOWNLOAD_MAX',
    initially: 'no cap',
    help: 'the same of what comes from others',
  }),
  'data-max': open({
    group: 'sharing',
    kind: dataCaps,
    env: 'ATOLL_DATA_MAX',
    initially: 'no cap',
    help: 'bytes over the network, both ways and peers included, in a day, a month or both: 5GB/day,100GB/month; at a cap the node leaves the network until the next one begins',
  }),
  schedule: open({
    group: 'operation',
    kind: hours,
    env: 'ATOLL_SCHEDULE',
    initially: 'always',
    help: 'work in these hours only, in local time: "Mo-Fr 19:00-07:00,Sa,Su"',
  }),
  'power-max': open({
    group: 'operation',
    kind: whole(10, 100_000, 'a number of watts, 10 or more'),
    takes: 'WATTS',
    env: 'ATOLL_POWER_MAX',
    initially: 'no cap',
    help: 'pause between units to stay below this mean power of the GPU, as its driver measures it',
  }),
  duty: filled({
    group: 'operation',
    kind: whole(1, 100),
    takes: 'PERCENT',
    env: 'ATOLL_DUTY',
    initial: '100',
    help: 'share of the time to compute in, where power cannot be measured',
  }),
  'drain-seconds': filled({
    group: 'operation',
    kind: whole(0, 3600),
    env: 'ATOLL_DRAIN_SECONDS',
    initial: '30',
    help: 'how long SIGTERM and SIGINT may take to finish the unit in hand and reveal what is committed; 0 gives it back at once',
  }),
  'health-port': filled({
    group: 'operation',
    kind: whole(0, 65_535),
    env: 'ATOLL_HEALTH_PORT',
    initial: '0',
    help: '/metrics, /healthz and /readyz on this port of 127.0.0.1; 0 serves none',
  }),
  'update-check': filled({
    group: 'operation',
    kind: choice('on', 'off'),
    env: 'ATOLL_UPDATE_CHECK',
    initial: 'on',
    help: 'look once a day whether there is a newer version, and only say so',
  }),
  'log-level': filled({
    group: 'operation',
    kind: choice('debug', 'info', 'warn', 'error', 'silent'),
    takes: 'LEVEL',
    env: 'ATOLL_LOG_LEVEL',
    initial: 'info',
    help: 'debug, info, warn, error or silent',
  }),
  'log-file': open({
    group: 'operation',
    kind: file('FILE'),
    env: 'ATOLL_LOG_FILE',
    initially: 'standard output; DATA/LABEL.log where that is a terminal with a progress line',
    help: 'where JSON lines go; a file of more than 10 MiB is put aside at the start',
  }),
  progress: filled({
    group: 'operation',
    kind: choice('auto', 'off'),
    env: 'ATOLL_PROGRESS',
    initial: 'auto',
    help: 'auto draws one line of progress where standard output is a terminal; NO_COLOR takes its colour away',
  }),
  'exit-with-parent': filled({
    ...off,
    group: 'operation',
    help: 'stop when standard input closes',
  }),
  config: open({
    group: 'settings',
    kind: file('FILE'),
    env: 'ATOLL_CONFIG',
    initially: 'DATA/node.json, if it is there',
    help: 'the config file: a JSON object of these options by their names without the dashes',
  }),
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof options;
export const optionNames = Object.keys(options) as OptionName[];

type ValueOf<S> = S extends Filled<infer T> ? T : S extends OptionSpec<infer T> ? T | undefined : never;
/** Parsed values by the option's name. */
export type Values = { [N in OptionName]: ValueOf<(typeof options)[N]> };

export function specOf(name: OptionName): OptionSpec {
  return options[name];
}

/** Whether the option may stand in the config file. */
export function isInFile(name: OptionName): boolean {
  return specOf(name).env !== undefined && name !== 'config';
}
