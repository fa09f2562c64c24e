/** The headless contributor's settings: flags, then environment, then the config file, then defaults; parsed once and frozen. */
import path from 'node:path';
import type { AddressChoice } from '../p2p/libp2p/reach.ts';
import type { KernelBackend } from '../runtime/kernel-compute.ts';
import { type CommandLine, type FlagSpec, parseCommandLine } from './command-line.ts';
import { readConfigFile } from './config-file.ts';
import { badConfig } from './option-kinds.ts';
import { type OptionName, optionNames, specOf, type Values } from './options.ts';

export type Config = Readonly<{
  /** The coordinator's http(s) address. */
  url: string;
  /** The label; `null` is nobody's in particular. */
  name: string | null;
  referee: boolean;
  acceptIdentity: boolean;
  backend: KernelBackend;
  /** The GPU of this process, by index or UUID; null is the first. */
  gpu: string | null;
  /** The GPUs that get a process each; `['all']`, or null where this process computes itself. */
  gpus: readonly string[] | null;
  /** Where NVRTC is; null looks for it. */
  nvrtc: string | null;
  threads: number;
  allowSoftware: boolean;
  dataDir: string;
  keyFile: string;
  tuningFile: string;
  /** Where CUDA's compiled kernels are kept. */
  kernelDir: string;
  /** Compiled CUDA kernels. */
  kernelsDir: string;
  cacheDir: string;
  cacheBytes: number;
  peers: AddressChoice | 'off';
  /** Caps in bytes a second; null is none. */
  uploadMax: number | null;
  downloadMax: number | null;
  /** Caps as `ops/data-cap.ts` reads them; null is none. */
  dataMax: string | null;
  /** Hours as `ops/schedule.ts` reads them; null is always. */
  schedule: string | null;
  /** Watts; null is no cap. */
  powerMax: number | null;
  /** Percent of the time, 1 to 100. */
  duty: number;
  drainMs: number;
  /** 0 serves none. */
  healthPort: number;
  updateCheck: boolean;
  logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** Null is standard output, or a file of the data folder beside a progress line. */
  logFile: string | null;
  progress: 'auto' | 'off';
  exitWithParent: boolean;
}>;

export type Source = 'flag' | 'env' | 'file' | 'default';

/** One setting and where it came from. */
export interface Setting {
  name: OptionName;
  /** Null where there is neither a value nor a default. */
  text: string | null;
  source: Source;
}

export interface Settings {
  values: Values;
  settings: readonly Setting[];
  /** The config file that was read, or the one that would be. */
  file: { path: string; exists: boolean };
  line: CommandLine;
}

const defaultName = 'contributor';

/** What files of a node are called by. */
export function labelOf({ name }: { name?: string | null | undefined }): string {
  return name ?? defaultName;
}

/**
 * The options in `only` (all unless given) from everywhere they may come from; `extra` flags are the command's own.
 * Throws `bad_config`.
 */
export function readSettings(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  extra: Readonly<Record<string, FlagSpec>> = {},
  only: readonly OptionName[] = optionNames,
): Settings {
  const line = parseCommandLine(args, { ...flagSpecs(only), ...extra });
  const given = (name: OptionName) => {
    const flag = line.flags.get(name);
    if (flag !== undefined) return { text: flag, source: 'flag' as const };
    const { env: variable } = specOf(name);
    const text = variable === undefined ? undefined : env[variable];
    return text === undefined || text === '' ? null : { text, source: 'env' as const };
  };
  const named = given('config')?.text;
  const file = named ?? path.join(given('data-dir')?.text ?? defaultOf('data-dir', env) ?? '', 'node.json');
  const inFile = readConfigFile(file);
  if (named !== undefined && inFile === null) throw badConfig(`There is no config file ${named}`);
  const settings = only.map((name): Setting => {
    const found = given(name);
    if (found) return { name, ...found };
    const text = inFile?.get(name);
    if (text !== undefined) return { name, text, source: 'file' };
    return { name, text: defaultOf(name, env), source: 'default' };
  });
  const values = Object.fromEntries(
    settings.map((setting) => [setting.name, valueOf(setting, file)]),
  ) as Partial<Values> as Values;
  return { values, settings, file: { path: file, exists: inFile !== null }, line };
}

/** All settings in their places. Throws `bad_config` when the address is missing, or two settings speak against each other. */
export function configOf(values: Values): Config {
  const { name, 'data-dir': dataDir } = values;
  const { url } = values;
  if (url === undefined) throw badConfig('--url is missing');
  const gpus = values.gpus?.length ? values.gpus : null;
  if (values.gpu !== undefined && gpus) throw badConfig('Give --gpu or --gpus, not both');
  const forGpu = values.gpu ?? gpus ?? undefined;
  if (forGpu !== undefined && !['auto', 'cuda'].includes(values.backend)) {
    throw badConfig(`--gpu and --gpus are for --backend cuda, not ${values.backend}`);
  }
  return Object.freeze({
    url,
    name: name ?? null,
    referee: values.referee,
    acceptIdentity: values['accept-identity'],
    backend: values.backend,
    gpu: values.gpu ?? null,
    gpus,
    nvrtc: values.nvrtc ?? null,
    threads: values.threads,
    allowSoftware: values['allow-software'],
    dataDir,
    keyFile: values['key-file'] ?? path.join(dataDir, `${labelOf({ name })}.key`),
    tuningFile: path.join(dataDir, 'gpu-tuning.json'),
    kernelDir: path.join(dataDir, 'cuda-kernels'),
    kernelsDir: path.join(dataDir, 'kernels'),
    cacheDir: values.cache ?? path.join(dataDir, 'blocks'),
    cacheBytes: values['cache-bytes'],
    peers: values.peers,
    uploadMax: values['upload-max'] ?? null,
    downloadMax: values['download-max'] ?? null,
    dataMax: values['data-max'] ?? null,
    schedule: values.schedule ?? null,
    powerMax: values['power-max'] ?? null,
    duty: values.duty,
    drainMs: values['drain-seconds'] * 1000,
    healthPort: values['health-port'],
    updateCheck: values['update-check'] === 'on',
    logLevel: values['log-level'],
    logFile: values['log-file'] ?? null,
    progress: values.progress,
    exitWithParent: values['exit-with-parent'],
  });
}

/** `help` when that was asked for. Throws `bad_config`. */
export function parseConfig(args: readonly string[], env: NodeJS.ProcessEnv): Config | 'help' {
  const { help } = parseCommandLine(args, flagSpecs(optionNames));
  return help ? 'help' : configOf(readSettings(args, env).values);
}

export function flagSpecs(names: readonly OptionName[]): Record<string, FlagSpec> {
  return Object.fromEntries(
    names.map((name) => {
      const spec = specOf(name);
      const takes = spec.takes ?? spec.kind.takes;
      return [name, takes === undefined ? {} : { takes }];
    }),
  );
}

function defaultOf(name: OptionName, env: NodeJS.ProcessEnv): string | null {
  const { initial } = specOf(name);
  return typeof initial === 'function' ? initial(env) : (initial ?? null);
}

function valueOf({ name, text, source }: Setting, file: string): unknown {
  if (text === null || (name === 'url' && text === '')) return undefined;
  try {
    return specOf(name).kind.parse(text, `--${name}`);
  } catch (error) {
    if (source === 'flag') throw error;
    const from = source === 'file' ? `in ${file}` : `by ${specOf(name).env}`;
    throw badConfig(`${(error as Error).message.replace(/ See --help\.$/, '')} (given ${from})`);
  }
}
