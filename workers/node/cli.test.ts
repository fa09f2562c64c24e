/** The command line: which command is meant, what is refused in which words, where settings come from, and that passwords are not shown. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findCommand } from './cli.ts';
import { printConfig } from './commands/config-print.ts';
import { serviceArgs } from './commands/install-service.ts';
import { configBytesMax } from './config-file.ts';
import { configOf, parseConfig, readSettings } from './config.ts';
import { nearest } from './nearest.ts';
import { terminalOutput } from './output.ts';

const url = 'http://127.0.0.1:4400';
let dir: string;
beforeEach(async () => (dir = await mkdtemp(path.join(tmpdir(), 'atoll-cli-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const write = (content: unknown, name = 'node.json') =>
  writeFile(path.join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
const settingsOf = (args: string[], env = {}) => readSettings([...args, '--data-dir', dir], env);
const refusal = (words: RegExp) =>
  expect.objectContaining({ code: 'bad_config', message: expect.stringMatching(words) });

describe('findCommand', () => {
  it.each([
    [[], 'run', []],
    [['--url', url], 'run', ['--url', url]],
    [['run', '--url', url], 'run', ['--url', url]],
    [['config', 'print', '--json'], 'config print', ['--json']],
    [['status'], 'status', []],
    [['--name', 'status'], 'run', ['--name', 'status']],
  ])('%j is %s', (argv, name, args) => {
    expect(findCommand(argv)).toEqual({ name, args });
  });

  it.each([
    [['docter'], /Did you mean "doctor"\?/],
    [['config', 'prnt'], /Did you mean "config print"\?/],
    [['config'], /There is no command "config"/],
    [['xyzzy'], /The commands are run, doctor/],
  ])('refuses %j', (argv, words) => {
    expect(() => findCommand(argv)).toThrow(refusal(words));
  });
});

describe('nearest', () => {
  it.each([
    ['thraeds', 'threads'],
    ['datadir', 'data-dir'],
    ['updat', 'update-check'],
    ['zzzzz', null],
  ])('%s is near %s', (word, expected) => {
    expect(nearest(word, ['threads', 'data-dir', 'update-check', 'url'])).toBe(expected);
  });
});

describe('the config file', () => {
  it('comes after flags and environment, and before defaults; its paths are its own', async () => {
    await write(
      { url, threads: 3, referee: true, backend: 'wasm', 'key-file': 'k', gpus: ['0', '1'] },
      'other',
    );
    const args = ['--config', path.join(dir, 'other'), '--backend', 'auto'];
    const { values, settings } = settingsOf(args, { ATOLL_THREADS: '5' });
    expect(configOf(values)).toMatchObject({
      ...{ url, threads: 5, referee: true, backend: 'auto', gpus: ['0', '1'] },
      keyFile: path.join(dir, 'k'),
    });
    const sources = Object.fromEntries(settings.map(({ name, source }) => [name, source]));
    expect(sources).toMatchObject({ url: 'file', threads: 'env', backend: 'flag', duty: 'default' });
  });

  it('is node.json of the data folder unless named; a switch of it can be undone', async () => {
    await write({ url, referee: true });
    expect(parseConfig(['--data-dir', dir], {})).toMatchObject({ url, referee: true });
    expect(parseConfig(['--data-dir', dir, '--no-referee'], {})).toMatchObject({ referee: false });
    expect(parseConfig(['--data-dir', dir], { ATOLL_REFEREE: '0' })).toMatchObject({ referee: false });
  });

  it.each([
    ['{"url": "http://user:hunter2@h", }', /is not JSON at position/],
    [[1], /one JSON object/],
    [{ thread: 3 }, /unknown key "thread". Did you mean "threads"\?/],
    [{ threads: [3] }, /"threads" takes a number/],
    [{ referee: 'yes' }, /"referee" takes true or false/],
    [{ threads: 99 }, /--threads takes .* \(given in .*node\.json\)/],
    [{ 'accept-identity': true }, /"accept-identity" is for the command line only/],
  ])('refuses %j', async (content, words) => {
    await write(content);
    expect(() => settingsOf([])).toThrow(refusal(words));
    expect(() => settingsOf([])).not.toThrow(/hunter2/);
  });

  it('is refused by its size before it is read', async () => {
    await write(' '.repeat(configBytesMax + 1));
    expect(() => settingsOf([])).toThrow(refusal(/larger than/));
  });

  it('must be there when it is named', () => {
    expect(() => settingsOf(['--config', path.join(dir, 'absent')])).toThrow(
      refusal(/There is no config file/),
    );
  });

  it('names the variable that is wrong', () => {
    expect(() => settingsOf([], { ATOLL_DUTY: 'half' })).toThrow(refusal(/given by ATOLL_DUTY/));
  });
});

describe('config print', () => {
  const printed = (isJson: boolean, args: string[]) => {
    const lines: string[] = [];
    const out = terminalOutput({ write: (line) => lines.push(line) }, { write: () => {} }, {});
    printConfig(settingsOf(args), isJson, out);
    return lines.join('');
  };

  it('shows every value with its source, and no password', async () => {
    await write({ threads: 2 });
    const secret = ['--url', 'https://me:hunter2@atoll.example/x?token=abc'];
    for (const isJson of [true, false]) {
      const text = printed(isJson, secret);
      expect(text).not.toMatch(/hunter2|abc/);
      expect(text).toContain('https://<redacted>@atoll.example/x?<redacted>');
    }
    const { file, settings } = JSON.parse(printed(true, secret));
    expect(file).toBe(path.join(dir, 'node.json'));
    expect(settings.threads).toEqual({ value: '2', source: 'file' });
  });
});

describe('install-service', () => {
  it('says flags again as they hold in another folder', () => {
    const { line } = readSettings(['--url', url, '--no-referee', '--allow-software', '--key-file', 'k'], {});
    expect(serviceArgs(line.flags)).toEqual([
      `--url=${url}`,
      '--no-referee',
      '--allow-software',
      `--key-file=${path.resolve('k')}`,
    ]);
  });
});
