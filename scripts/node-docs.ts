/**
 * `node scripts/node-docs.ts`: writes docs/node.md from the tables of the headless contributor's commands, options and exit codes. A test fails when the committed
 * file is another one.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { commandNames, commandSpec } from '#workers/node/commands.ts';
import { exitCodes, exitWords } from '#workers/node/exit-codes.ts';
import { defaultWords } from '#workers/node/help.ts';
import {
  type Group,
  groupTitles,
  isInFile,
  type OptionName,
  optionNames,
  specOf,
} from '#workers/node/options.ts';
import { root } from './run-tool.ts';

export const nodeDocsFile = path.join(root, 'docs', 'node.md');

const intro = `# The headless contributor

<!-- Made by \`node scripts/node-docs.ts\` from workers/node/{commands,options,exit-codes}.ts; change those. -->

\`atoll node\` contributes a machine to a network without a browser or a wallet. In a checkout:

\`\`\`
npx atoll node --url http://127.0.0.1:4400
npm run node -- --url http://127.0.0.1:4400     # the same
npx atoll node doctor --url http://127.0.0.1:4400
\`\`\`

Any Node from 20 on will do to begin: Node 24 and the packages are fetched into the checkout at the first start. What surrounds a node (service, containers, metrics,
schedule) is in [operations.md](operations.md).`;

const settings = `## Where settings come from

A flag wins over the environment, that over the config file, that over the default; \`atoll node config print\` shows every setting and its source. The config file is
\`node.json\` in the data folder, or what \`--config\` names: one JSON object without comments, of options by their names. Unknown keys are refused, and relative paths
are taken from the file's folder.

\`\`\`json
{ "url": "https://atoll.example", "backend": "cuda", "cache-bytes": 20000000000, "referee": true }
\`\`\`

A switch is undone by \`--no-NAME\`, or by false. In the tables, DATA is the data folder and LABEL is the node's name, \`contributor\` unless given.`;

const running = `## A running node

A node listens on a Unix socket, \`LABEL.sock\` in its data folder, that only its owner may use; it is also its name, so that a second node of that name is refused.
\`status\`, \`pause\`, \`resume\` and \`drain\` speak to it, each by one line of JSON and one line back: \`{"command": "status"}\`. Without \`--name\` the only node of
the data folder is meant, and \`status\` shows all of them.

SIGTERM and SIGINT drain: the unit in hand is finished if the time of \`--drain-seconds\` allows (its pace tells, and some of the time is kept for reveals), else given
back; what is committed is revealed and settled if its verdict comes in time. Results that are not settled then are kept and revealed after the next start, and the exit
code says so. A second signal, at least a second later, stops at once.`;

/** A cell of a table. */
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function commandRows(): string[] {
  return commandNames.map((name) => {
    const { summary, own } = commandSpec(name);
    const flags = Object.entries(own).map(
      ([flag, { takes, help }]) => `\`--${flag}${takes ? ` ${takes}` : ''}\`: ${help}`,
    );
    return `| \`${name}\` | ${cell(summary)} | ${cell(flags.join('; '))} |`;
  });
}

function optionRow(name: OptionName): string {
  const { takes, kind, env, help } = specOf(name);
  const word = takes ?? kind.takes;
  const flag = `\`--${name}${word === undefined ? '' : ` ${word}`}\``;
  const variable = env === undefined ? '' : `\`${env}\``;
  const where = isInFile(name) ? '' : ' (not in the file)';
  return `| ${flag}${where} | ${variable} | ${cell(defaultWords(name))} | ${cell(help)} |`;
}

export function nodeDocs(): string {
  const groups = (Object.keys(groupTitles) as Group[]).map((group) => {
    const rows = optionNames.filter((name) => specOf(name).group === group).map(optionRow);
    return [
      `### ${groupTitles[group]}`,
      '',
      '| option | environment | default | what it does |',
      '|---|---|---|---|',
      ...rows,
    ].join('\n');
  });
  const codes = (Object.keys(exitCodes) as (keyof typeof exitCodes)[]).map(
    (name) => `| ${exitCodes[name]} | ${cell(exitWords[name])} |`,
  );
  return `${[
    intro,
    [
      '## Commands',
      '',
      '| `atoll node ...` | what it does | flags of its own |',
      '|---|---|---|',
      ...commandRows(),
    ].join('\n'),
    settings,
    ['## Options', '', ...groups.join('\n\n').split('\n')].join('\n'),
    running,
    ['## Exit codes', '', '| code | meaning |', '|---|---|', ...codes].join('\n'),
  ].join('\n\n')}\n`;
}

if (import.meta.main) writeFileSync(nodeDocsFile, nodeDocs());
