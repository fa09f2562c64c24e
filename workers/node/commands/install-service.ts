/** `atoll node install-service`: the flags that were given become the arguments of a hardened systemd unit. Nothing is started. */
import path from 'node:path';
import { configOf, type Settings } from '../config.ts';
import { installService, serviceCommand, serviceUnit } from '../ops/service.ts';
import { type OptionName, optionNames, specOf } from '../options.ts';
import type { Output } from '../output.ts';

/** Resolves with the exit code. Throws `bad_config` where the settings are not usable, or the unit cannot be written. */
export async function installNodeService(settings: Settings, out: Output): Promise<number> {
  const { flags } = settings.line;
  const { drainMs } = configOf(settings.values);
  const user = flags.get('user');
  const name = flags.get('unit');
  const options = {
    command: serviceCommand(serviceArgs(flags)),
    drainSeconds: Math.ceil(drainMs / 1000),
    ...(user === undefined ? {} : { user }),
    ...(name === undefined ? {} : { name }),
  };
  if (flags.get('print') === 'true') out.print(serviceUnit(options).trimEnd());
  else for (const line of await installService(options)) out.print(line);
  return 0;
}

/** The flags as they are said again later, from another folder. */
export function serviceArgs(flags: ReadonlyMap<string, string>): string[] {
  return optionNames
    .filter((name) => flags.has(name))
    .map((name: OptionName) => {
      const { kind, takes } = specOf(name);
      const text = flags.get(name) as string;
      if (takes === undefined && kind.takes === undefined)
        return text === 'true' ? `--${name}` : `--no-${name}`;
      return `--${name}=${kind.isPath ? path.resolve(text) : text}`;
    });
}
