/**
 * The options of `npm start`: flags > environment > defaults, parsed once and checked here, so that what follows can trust them.
 *
 * Every option has an environment variable: --data-dir is ATOLL_DATA_DIR. A wrong one is a `bad_config` that names the option and what it takes.
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { type ModelConfig, modelConfigSchema, type Policy, policySchema } from '#protocol/messages/job.ts';

export interface StartOptions {
  help: boolean;
  /** A text file, or null for the generated corpus. */
  data: string | null;
  model: ModelConfig;
  policy: Policy;
  lanes: number;
  steps: number;
  batch: number;
  lr: number;
  warmup: number;
  heldOut: number;
  seed: number;
  /** Local contributors to start. */
  local: number;
  /** Rounds in all after which to stop; null goes on until stopped. */
  rounds: number | null;
  json: boolean;
  port: number;
  dataDir: string;
  chain: boolean;
}

interface OptionSpec {
  takes?: string;
  initial?: string;
  help: string;
}

/** In the order of the help text. Options without `takes` are switches. */
const specs = {
  data: {
    takes: 'FILE',
    help: 'any UTF-8 text to learn; without it a text is made whose true entropy is known',
  },
  model: {
    takes: 'L,C,NH,T',
    initial: '2,64,4,64',
    help: 'layers, channels, heads, context of the GPT (over bytes)',
  },
  arch: {
    takes: 'NAME',
    initial: 'gpt',
    help: 'kind of model: gpt, gpt2 (with biases), llama (RMSNorm, rotary, SwiGLU, grouped heads) or experts (llama, 2 of 4)',
  },
  policy: {
    takes: 'NAME',
    initial: 'i10sr',
    help: 'precision of matrix products: i10sr, i15 (finest) or i8sr (fastest)',
  },
  lanes: { takes: 'N', initial: '2', help: 'data-parallel lanes of a round' },
  steps: { takes: 'N', initial: '25', help: 'optimiser steps a lane takes in a round' },
  batch: { takes: 'N', initial: '8', help: 'sequences in one step' },
  lr: { takes: 'X', initial: '0.002', help: 'peak learning rate' },
  warmup: { takes: 'N', initial: '100', help: 'steps until the learning rate is reached' },
  'held-out': { takes: 'N', initial: '64', help: 'held-out sequences that the loss is measured on' },
  seed: { takes: 'N', initial: '1', help: 'seed of the job (and of the made text)' },
  local: {
    takes: 'N',
    initial: '2',
    help: 'contributors to start on this machine; two or more are needed for agreement',
  },
  rounds: {
    takes: 'N',
    help: 'stop when the job has N rounds, all anchored; without it training goes on until Ctrl-C',
  },
  json: { help: 'end with one line of JSON on stdout; everything else goes to stderr' },
  port: { takes: 'N', initial: '4400', help: 'port on 127.0.0.1; 0 takes any free one' },
  'data-dir': {
    takes: 'DIR',
    initial: '.data',
    help: 'where the network keeps its state; a second start goes on there',
  },
  'no-chain': { help: 'do without the embedded chain; nothing is anchored' },
  help: { help: 'this text' },
} as const satisfies Record<string, OptionSpec>;
type Name = keyof typeof specs;

export function helpText(): string {
  const lines = (Object.entries(specs) as [Name, OptionSpec][]).map(([name, { takes, initial, help }]) => {
    const left = `  --${name}${takes ? ` ${takes}` : ''}`.padEnd(22);
    return `${left}${help}${initial ? ` [${initial}]` : ''}`;
  });
  return [
    'npm start -- [options]',
    '',
    'Trains a language model on this machine: a coordinator, an embedded chain, contributors and a page that anybody may open to help.',
    '',
    ...lines,
    '',
    'Each option can come from the environment too: --data-dir is ATOLL_DATA_DIR.',
  ].join('\n');
}

type Values = Partial<Record<Name, string | boolean>>;

/** Throws `bad_config`. `base` is what relative paths start from. */
export function parseOptions(argv: readonly string[], env: NodeJS.ProcessEnv, base: string): StartOptions {
  const given = parseFlags(argv);
  const value = (name: Name): string | undefined => {
    const { initial }: OptionSpec = specs[name];
    const raw = given[name] ?? env[`ATOLL_${name.replaceAll('-', '_').toUpperCase()}`];
    return typeof raw === 'string' && raw !== '' ? raw : initial;
  };
  const flag = (name: Name): boolean => {
    const raw = given[name] ?? env[`ATOLL_${name.replaceAll('-', '_').toUpperCase()}`];
    return raw === true || raw === '1' || raw === 'true';
  };
  const whole = (name: Name, min: number, max: number): number =>
    wholeNumber(name, value(name) ?? '', min, max);
  const data = value('data');
  return {
    help: flag('help'),
    data: data === undefined ? null : path.resolve(base, data),
    model: parseArchitecture(value('arch') ?? '', parseModel(value('model') ?? '')),
    policy: parsePolicy(value('policy') ?? ''),
    lanes: whole('lanes', 1, 60),
    steps: whole('steps', 1, 1000),
    batch: whole('batch', 1, 1024),
    lr: positive('lr', value('lr') ?? ''),
    warmup: whole('warmup', 0, 100_000),
    heldOut: whole('held-out', 1, 65_536),
    seed: whole('seed', 0, 0xffffffff),
    local: whole('local', 0, 64),
    rounds: value('rounds') === undefined ? null : whole('rounds', 1, 1_000_000),
    json: flag('json'),
    port: whole('port', 0, 65_535),
    dataDir: path.resolve(base, value('data-dir') ?? ''),
    chain: !flag('no-chain'),
  };
}

function parseFlags(argv: readonly string[]): Values {
  const options = Object.fromEntries(
    (Object.entries(specs) as [Name, OptionSpec][]).map(([name, { takes }]) => [
      name,
      { type: takes ? ('string' as const) : ('boolean' as const) },
    ]),
  );
  let parsed: { values: Values; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, strict: true, allowPositionals: true }) as typeof parsed;
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0]?.replace(/\.? To specify.*$/, '');
    throw bad(`${reason}. \`npm start -- --help\` lists the options.`);
  }
  const stray = parsed.positionals[0];
  if (stray !== undefined) {
    throw bad(
      `"${stray}" belongs to no option. npm keeps options for itself unless they follow --, as in \`npm start -- --rounds 3\`.`,
    );
  }
  return parsed.values;
}

function bad(message: string): AtollError {
  return new AtollError('bad_config', message);
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw bad(`--${name} takes a whole number from ${min} to ${max}, not "${text}".`);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0 && value <= 1) return value;
  throw bad(`--${name} takes a number above 0 and up to 1, not "${text}".`);
}

function parsePolicy(text: string): Policy {
  const found = policySchema.options.find((policy) => policy === text);
  if (found) return found;
  throw bad(`--policy takes ${policySchema.options.join(', ')}, not "${text}".`);
}

/** One byte is one token, so V is 256. */
/** Members of the family of models by what people call them. */
function parseArchitecture(name: string, model: ModelConfig): ModelConfig {
  const { C, NH } = model;
  const llama = { norm: 'rms', mlp: 'swiglu', positions: 'rotary' } as const;
  // SwiGLU has three matrices: this wide they hold as many weights as two of 4 C.
  const HID = Math.max(8, Math.round(C / 3) * 8);
  const members: Record<string, Omit<ModelConfig, 'L' | 'C' | 'NH' | 'T' | 'V'>> = {
    gpt: {},
    gpt2: { biases: true },
    llama: { ...llama, HID, NKV: NH % 2 === 0 ? NH / 2 : NH },
    experts: { ...llama, HID: Math.max(8, HID / 2), experts: { E: 4, k: 2 } },
  };
  const member = Object.hasOwn(members, name) ? members[name] : undefined;
  if (!member) throw bad(`--arch takes ${Object.keys(members).join(', ')}, not "${name}".`);
  const parsed = v.safeParse(modelConfigSchema, { ...model, ...member });
  if (parsed.success) return parsed.output;
  throw bad(`--arch ${name} does not fit --model: ${parsed.issues[0].message}.`);
}

function parseModel(text: string): ModelConfig {
  const numbers = text.split(',').map((part) => (/^\s*\d+\s*$/.test(part) ? Number(part) : Number.NaN));
  const [L, C, NH, T] = numbers as [number, number, number, number];
  const limits: [string, number, number, number][] = [
    ['L', L, 1, 96],
    ['C', C, 8, 8192],
    ['NH', NH, 1, 128],
    ['T', T, 4, 4096],
  ];
  if (numbers.length !== 4 || numbers.some(Number.isNaN)) {
    throw bad(`--model takes four whole numbers L,C,NH,T such as 2,64,4,64, not "${text}".`);
  }
  for (const [name, value, min, max] of limits) {
    if (value < min || value > max)
      throw bad(`--model: ${name} is ${value}; it may be from ${min} to ${max}.`);
  }
  if (C % NH !== 0) throw bad(`--model: C (${C}) must be a multiple of NH (${NH}).`);
  return { L, C, NH, T, V: 256 };
}
