/** `npm start` refuses what it cannot use with one line that names the remedy and exit code 2, before it starts anything. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = path.dirname(import.meta.dirname);
let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'atoll-start-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const full = path.join(dir, name);
  writeFileSync(full, content);
  return full;
}

function start(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const hooks = path.join(root, 'scripts/raw-hooks.ts');
  const script = path.join(root, 'scripts/start.ts');
  const common = ['--port', '0', '--local', '0', '--no-chain', '--data-dir', path.join(dir, 'data')];
  const child = spawn(process.execPath, ['--import', hooks, script, ...common, ...args], { cwd: root });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

const cases: [string, () => string[], string][] = [
  ['no such file', () => ['--data', path.join(dir, 'nothing.txt')], 'there is no such file'],
  ['a folder', () => ['--data', dir], 'it is a folder'],
  ['an empty file', () => ['--data', file('empty.txt', '')], 'empty.txt: The text is empty.'],
  [
    'bytes that are no text',
    () => ['--data', file('bytes.txt', Uint8Array.of(0xff, 0xfe, 0x00))],
    'not UTF-8',
  ],
  [
    'a text too short',
    () => ['--data', file('short.txt', 'To be, or not to be.')],
    'Give a longer text, or fewer lanes',
  ],
  ['a bad model', () => ['--model', '2,64,5,64'], 'C (64) must be a multiple of NH (5)'],
  ['an unknown option', () => ['--dta', 'x'], '--help'],
  [
    'a file for a data directory',
    () => ['--data-dir', file('taken', 'x')],
    'Check its permissions, or choose another one.',
  ],
];

test.each(cases)('%s', async (_name, args, words) => {
  const { code, stdout, stderr } = await start(...args());
  expect(stderr).toContain(words);
  expect(stderr.trim().split('\n').at(-1)).toMatch(/^atoll: /);
  expect(stderr).not.toContain('    at ');
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
});

test('a busy port', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const { code, stderr } = await start('--port', String(port), '--data-dir', path.join(dir, 'busy'));
  server.close();
  expect(stderr).toContain(`Port ${port} on 127.0.0.1 is taken`);
  expect(code).toBe(2);
});

test('a data directory that another start holds', async () => {
  const held = path.join(dir, 'held');
  mkdirSync(held);
  const { lockDataDir } = await import('#coordinator/storage/lock.ts');
  const lock = lockDataDir(held);
  const { code, stderr } = await start('--data-dir', held);
  lock.release();
  expect(stderr).toContain('Another coordinator is running on');
  expect(code).toBe(2);
});

test('--help', async () => {
  const { code, stdout } = await start('--help');
  expect(stdout).toContain('--data FILE');
  expect(code).toBe(0);
});
