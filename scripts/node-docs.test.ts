/** docs/node.md is what the tables say, and every option and command is in it and in the help. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { commandNames } from '#workers/node/commands.ts';
import { commandHelp, overview } from '#workers/node/help.ts';
import { optionNames, specOf } from '#workers/node/options.ts';
import { nodeDocs, nodeDocsFile } from './node-docs.ts';

test('docs/node.md is made from the tables: run `node scripts/node-docs.ts`', () => {
  expect(readFileSync(nodeDocsFile, 'utf8')).toBe(nodeDocs());
});

test('every option and command is in the help and in the docs', () => {
  const docs = nodeDocs();
  for (const name of optionNames) {
    expect(commandHelp('run')).toContain(`--${name}`);
    expect(docs).toContain(`--${name}`);
    const { env } = specOf(name);
    if (env) expect(commandHelp('run')).toContain(env);
  }
  for (const name of commandNames) {
    expect(overview()).toContain(name);
    expect(docs).toContain(`\`${name}\``);
    expect(commandHelp(name)).toMatch(/^Usage: atoll node /);
  }
});

test('help fits a terminal', () => {
  for (const text of [overview(), ...commandNames.map(commandHelp)]) {
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(110);
  }
});
