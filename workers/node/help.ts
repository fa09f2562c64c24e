/** The help texts, made from the tables of commands and options. */
import { commandNames, type CommandName, commandSpec } from './commands.ts';
import { exitCodes, exitWords } from './exit-codes.ts';
import { type Group, groupTitles, type OptionName, specOf } from './options.ts';

const width = 100;
const column = 26;

export const program = 'atoll node';

export function overview(): string {
  const lines = commandNames.map((name) => row(name, commandSpec(name).summary));
  return [
    `Usage: ${program} [command] [options]`,
    '',
    'A headless contributor: earns credit for exact computation, with no browser and no wallet.',
    '',
    ...lines,
    '',
    `\`${program} COMMAND --help\` explains one; without a command it is run.`,
    '',
  ].join('\n');
}

export function commandHelp(name: CommandName): string {
  const { usage, summary, details, options, own } = commandSpec(name);
  const ownLines = Object.entries(own).map(([flag, spec]) => row(leftOf(flag, spec.takes), spec.help));
  const parts = [
    `Usage: ${program} ${usage}`,
    wrap(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`),
    ...(details ? [wrap(details)] : []),
    ...(ownLines.length > 0 ? [ownLines.join('\n')] : []),
    ...groupsOf(options),
    row('--help', 'this text'),
  ];
  if (name === 'run') {
    parts.push(
      wrap(
        'Commands: run (this one), and ' +
          commandNames.slice(1).join(', ') +
          '; each explains itself with --help.',
      ),
      wrap(
        'A flag wins over the environment, that over the config file, that over the default. A switch is undone by --no-NAME.',
      ),
      exitCodesText(),
    );
  }
  return `${parts.join('\n\n')}\n`;
}

function groupsOf(names: readonly OptionName[]): string[] {
  const groups = Object.keys(groupTitles) as Group[];
  return groups.flatMap((group) => {
    const lines = names.filter((name) => specOf(name).group === group).map(optionRow);
    return lines.length === 0 ? [] : [[groupTitles[group], ...lines].join('\n')];
  });
}

function optionRow(name: OptionName): string {
  const spec = specOf(name);
  const origin = [spec.env, defaultWords(name)].filter((part) => part !== undefined && part !== '');
  const more = origin.length > 0 ? ` [${origin.join(', ')}]` : '';
  return row(leftOf(name, spec.takes ?? spec.kind.takes), `${spec.help}${more}`);
}

/** The default for a person; empty where there is none. */
export function defaultWords(name: OptionName): string {
  const { initial, initially } = specOf(name);
  return initially ?? (typeof initial === 'string' ? initial : '');
}

function leftOf(name: string, takes: string | undefined): string {
  return takes === undefined ? `--${name}` : `--${name} ${takes}`;
}

function exitCodesText(): string {
  const names = Object.keys(exitCodes) as (keyof typeof exitCodes)[];
  const lines = names.map((name) => {
    const [first = '', ...rest] = wrap(exitWords[name], width - 7).split('\n');
    return [
      `  ${String(exitCodes[name]).padStart(3)}  ${first}`,
      ...rest.map((line) => `       ${line}`),
    ].join('\n');
  });
  return ['Exit codes', ...lines].join('\n');
}

/** Two columns; what is on the right goes on below itself. */
function row(left: string, right: string): string {
  const lines = wrap(right, width - column - 2).split('\n');
  const space = ' '.repeat(column);
  const isLong = left.length > column - 2;
  const rest = (isLong ? lines : lines.slice(1)).map((line) => `  ${space}${line}`);
  const first = isLong ? `  ${left}` : `  ${left.padEnd(column)}${lines[0]}`;
  return [first, ...rest].join('\n');
}

function wrap(text: string, columns = width): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
