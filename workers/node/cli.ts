/** The command line of the headless contributor: finds the command, reads the settings, runs it. Commands are loaded when they are asked for. */
import { AtollError, codeOf } from '#protocol/errors.ts';
import { type CommandLine, parseCommandLine } from './command-line.ts';
import { type CommandName, commandNames, commandSpec } from './commands.ts';
import { configOf, flagSpecs, readSettings, type Settings } from './config.ts';
import { exitCodes } from './exit-codes.ts';
import { commandHelp, overview, program } from './help.ts';
import { hint } from './nearest.ts';
import { type Output, terminalOutput } from './output.ts';
import { version } from './version.ts';

/** Resolves with the exit code. Never rejects. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const out = terminalOutput(process.stdout, process.stderr, env);
  try {
    return await dispatch(argv, env, out);
  } catch (error) {
    if (codeOf(error) === 'internal') {
      out.note((error as Error).stack ?? String(error));
      return exitCodes.unexpected;
    }
    out.note((error as Error).message);
    return codeOf(error) === 'bad_config' ? exitCodes.badConfig : exitCodes.unexpected;
  }
}

async function dispatch(argv: readonly string[], env: NodeJS.ProcessEnv, out: Output): Promise<number> {
  const [first] = argv;
  if (first === 'help') out.print(overview().trimEnd());
  else if (first === '--version') out.print(version);
  else {
    const { name, args } = findCommand(argv);
    const { options, own } = commandSpec(name);
    if (parseCommandLine(args, { ...flagSpecs(options), ...own }).help)
      out.print(commandHelp(name).trimEnd());
    else return runCommand(name, readSettings(args, env, own, options), out);
  }
  return 0;
}

/** Words before the first flag name the command. Throws `bad_config`. */
export function findCommand(argv: readonly string[]): { name: CommandName; args: readonly string[] } {
  const words = argv
    .slice(0, 2)
    .filter((word, i) => argv.slice(0, i + 1).every((one) => !one.startsWith('-')));
  if (words.length === 0) return { name: 'run', args: argv };
  const given = words.join(' ');
  const found = commandNames.find((name) => name === given || name === words[0]);
  if (found) return { name: found, args: argv.slice(found.split(' ').length) };
  const near = hint(given, commandNames, (name) => `"${name}"`);
  throw new AtollError(
    'bad_config',
    `There is no command "${given.slice(0, 60)}".${near || ` The commands are ${commandNames.join(', ')}.`} See ${program} help.`,
  );
}

function isOn({ flags }: CommandLine, name: string, initial = false): boolean {
  const given = flags.get(name);
  return given === undefined ? initial : given === 'true';
}

async function runCommand(name: CommandName, settings: Settings, out: Output): Promise<number> {
  const json = isOn(settings.line, 'json');
  switch (name) {
    case 'run':
      return (await import('./commands/run.ts')).run(configOf(settings.values), settings);
    case 'config print':
      (await import('./commands/config-print.ts')).printConfig(settings, json, out);
      return 0;
    case 'status':
    case 'pause':
    case 'resume':
    case 'drain': {
      const { controlNode } = await import('./commands/control.ts');
      return controlNode({ command: name, settings, json, wait: isOn(settings.line, 'wait', true) }, out);
    }
    case 'install-service':
      return (await import('./commands/install-service.ts')).installNodeService(settings, out);
    case 'doctor':
      return (await import('./commands/doctor.ts')).doctor(settings, json, out);
  }
}
