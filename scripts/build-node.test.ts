/** The bundled contributor is the contributor: it starts its threads and finds its kernels, with no TypeScript about it. */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureNodeBundle } from './build-node.ts';

let dir: string;
let program: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-bundle-'));
  program = await ensureNodeBundle('main');
});
afterAll(() => rm(dir, { recursive: true, force: true }));

it('is built once for the same sources', async () => {
  expect(await ensureNodeBundle('main')).toBe(program);
  expect(await readFile(program, 'utf8')).not.toMatch(/new URL\([^)]*\.ts['"]/);
});

it('opens its device on two threads and leaves when it is told to', async () => {
  const args = ['--url', 'http://127.0.0.1:1', '--backend', 'wasm', '--threads', '2', '--data-dir', dir];
  const child = spawn(process.execPath, [program, ...args], { cwd: dir });
  let said = '';
  for await (const text of child.stdout as AsyncIterable<Buffer>) {
    said += text.toString();
    if (/passed the conformance probe/.test(said) && !child.killed) child.kill('SIGTERM');
  }
  expect(child.exitCode ?? (await new Promise((resolve) => child.once('exit', resolve)))).toBe(0);
  expect(said).toMatch(/"backend":"wasm"/);
});
