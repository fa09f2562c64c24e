/** Words of a command line as flags by name. Unknown flags are refused with the nearest known one. */
import { parseArgs } from 'node:util';
import { badConfig } from './option-kinds.ts';
import { hint } from './nearest.ts';

export interface FlagSpec {
  /** None for a switch. */
  takes?: string;
}

export interface CommandLine {
  /** A switch is `true` or `false` (by `--no-NAME`). */
  flags: Map<string, string>;
  help: boolean;
}

/** Throws `bad_config`. */
export function parseCommandLine(
  args: readonly string[],
  known: Readonly<Record<string, FlagSpec>>,
): CommandLine {
  const specs = Object.fromEntries(
    Object.entries(known).map(([name, { takes }]) => [
      name,
      { type: takes === undefined ? ('boolean' as const) : ('string' as const) },
    ]),
  );
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { ...specs, help: { type: 'boolean', short: 'h' } },
      allowNegative: true,
    });
    const { help = false, ...given } = values;
    return {
      help: help === true,
      flags: new Map(Object.entries(given).map(([name, value]) => [name, String(value)])),
    };
  } catch (error) {
    throw inWords(error as NodeJS.ErrnoException, Object.keys(known));
  }
}

function inWords({ code, message }: NodeJS.ErrnoException, known: string[]): Error {
  const reason = (message.split('\n')[0] ?? '').replace(/\.? To specify.*$/, '').replace(/\.$/, '');
  const [, flag = ''] = /'--([^']*)'/.exec(reason) ?? [];
  if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION' || flag === '') return badConfig(reason);
  return badConfig(`${reason}.${hint(flag.replace(/^no-/, ''), known, (name) => `--${name}`)}`);
}
