/** The table of what `atoll node` can be told: what each command does, which options it takes, and flags of its own. Help and docs come from it. */
import type { FlagSpec } from './command-line.ts';
import { type OptionName, optionNames } from './options.ts';

export interface OwnFlag extends FlagSpec {
  help: string;
}

export interface CommandSpec {
  /** Behind `atoll node`. */
  usage: string;
  /** One line. */
  summary: string;
  /** What a person should know beyond it, in full sentences. */
  details?: string;
  options: readonly OptionName[];
  own: Readonly<Record<string, OwnFlag>>;
}

/** What finds a running node. */
const toFind: readonly OptionName[] = ['name', 'data-dir', 'config'];
const json: OwnFlag = { help: 'one JSON object on standard output' };
const own = { json };

export const commands = {
  run: {
    usage: '[run] --url URL [options]',
    summary: 'contribute this machine to a network until it is stopped',
    details:
      'Logs are JSON lines on standard output. SIGTERM or SIGINT drains: the unit in hand is finished if the time allows, else given back, and what is committed is revealed. A second signal stops at once.',
    options: optionNames,
    own: {},
  },
  doctor: {
    usage: 'doctor [--url URL] [options]',
    summary: 'check everything a node needs here, each failure with its remedy',
    details:
      'Takes the options that the node would run with, and checks what they name. Exit code 0 when nothing failed, else 1.',
    options: optionNames,
    own: { json: { help: 'the checks as one JSON object on standard output' } },
  },
  'config print': {
    usage: 'config print [options]',
    summary: 'show every setting, and where it comes from',
    details: 'Passwords in addresses are redacted; the key itself is in its file and never shown.',
    options: optionNames,
    own,
  },
  status: {
    usage: 'status [--name LABEL] [--json]',
    summary: 'show what the running node does',
    options: toFind,
    own,
  },
  pause: {
    usage: 'pause [--name LABEL]',
    summary: 'give the unit in hand back and take no more; the connection stays',
    options: toFind,
    own,
  },
  resume: {
    usage: 'resume [--name LABEL]',
    summary: 'take units again',
    options: toFind,
    own,
  },
  drain: {
    usage: 'drain [--name LABEL] [--no-wait]',
    summary: 'finish the unit in hand, take no more, wait until every result is settled, and stop',
    options: toFind,
    own: { json, wait: { help: 'until the node has stopped; --no-wait returns at once' } },
  },
  'install-service': {
    usage: 'install-service --url URL [options]',
    summary: 'write a hardened systemd service that runs a node with these options',
    details:
      'Flags become arguments of the service; its environment can be set in /etc/atoll/node.env. Writing the unit takes root; nothing is started.',
    options: optionNames,
    own: {
      print: { help: 'only print the unit file' },
      user: { takes: 'ACCOUNT', help: 'an account to run as; one is made for the time it runs unless given' },
      unit: { takes: 'NAME', help: 'name of the unit [atoll-node]' },
    },
  },
} as const satisfies Record<string, CommandSpec>;

export type CommandName = keyof typeof commands;
export const commandNames = Object.keys(commands) as CommandName[];

export function commandSpec(name: CommandName): CommandSpec {
  return commands[name];
}
