/** findChromium against made-up folders, and swiftshaderEnv against the real Chromium: Dawn for Node must get an adapter from it. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findChromium, findInstalled, swiftshaderEnv } from './find-chromium.ts';

let home: string;
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'atoll-chromium-'));
});
afterEach(() => rmSync(home, { recursive: true }));

function executable(file: string): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, 0o755);
  return file;
}

describe('where it looks', () => {
  test('ATOLL_CHROMIUM wins, and a wrong one is an error that says so', async () => {
    const file = executable(path.join(home, 'mine'));
    await expect(findChromium({ ATOLL_CHROMIUM: file })).resolves.toBe(file);
    await expect(findChromium({ ATOLL_CHROMIUM: home })).rejects.toThrow('not an executable file');
  });

  test('the system before Playwright, and Playwright’s newest build', () => {
    executable(path.join(home, '.cache/ms-playwright/chromium-900/chrome-linux/chrome'));
    const newest = executable(path.join(home, '.cache/ms-playwright/chromium-1100/chrome-linux/chrome'));
    expect(findInstalled({ HOME: home, PATH: '' })).toBe(newest);
    const system = executable(path.join(home, 'bin/google-chrome'));
    expect(findInstalled({ HOME: home, PATH: path.join(home, 'bin') })).toBe(system);
  });
});

test('Dawn for Node gets an adapter from Chromium’s SwiftShader', async () => {
  const env = swiftshaderEnv(await findChromium());
  expect(env).toBeDefined();
  const script = `
    import { create, globals } from 'webgpu';
    Object.assign(globalThis, globals);
    const adapter = await create([]).requestAdapter();
    console.log(adapter?.info.architecture ?? 'none');
    process.exit(0);`;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
  });
  expect(stdout.trim()).toBe('swiftshader');
});
