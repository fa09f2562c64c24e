/** The bootstrap in small made-up projects: it installs once, repairs what was interrupted, leaves no stamp on failure, and says what to do. */
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isInstalled, remedyFor, withLock } from './bootstrap.mjs';

let project: string;

const lockWith = (packages: Record<string, unknown>) =>
  JSON.stringify({ name: 'p', version: '1.0.0', lockfileVersion: 3, requires: true, packages });

beforeEach(() => {
  project = mkdtempSync(path.join(tmpdir(), 'atoll-bootstrap-'));
  mkdirSync(path.join(project, 'scripts'));
  for (const file of ['atoll.mjs', 'bootstrap.mjs', 'raw-hooks.ts']) {
    copyFileSync(path.join(import.meta.dirname, file), path.join(project, 'scripts', file));
  }
  write('package.json', '{ "name": "p", "version": "1.0.0", "type": "module" }');
  write('package-lock.json', lockWith({ '': { name: 'p', version: '1.0.0' } }));
  write('scripts/check.ts', 'console.log(JSON.stringify(process.argv.slice(2)));\n');
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

function write(name: string, text: string): void {
  writeFileSync(path.join(project, name), text);
}

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

function bootstrap(
  args: string[],
  onStdout?: (pid: number) => void,
  entry = path.join(project, 'scripts/bootstrap.mjs'),
): Promise<Ended> {
  const child = spawn(process.execPath, [entry, ...args], {
    env: { ...process.env, npm_config_registry: 'http://127.0.0.1:1/', npm_config_fetch_retries: '0' },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    onStdout?.(child.pid as number);
  });
  child.stderr.on('data', (chunk) => (stderr += chunk));
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

const stamp = () => path.join(project, 'node_modules/.atoll-installed');

describe('a command', () => {
  test('installs once, then goes straight to the script; stdout is the script’s alone', async () => {
    const first = await bootstrap(['check', '--rounds', '3', 'a b']);
    expect(first).toMatchObject({ code: 0, stdout: '["--rounds","3","a b"]\n' });
    expect(first.stderr).toContain('packages installed');
    const second = await bootstrap(['check']);
    expect(second).toMatchObject({ code: 0, stdout: '[]\n', stderr: '' });
  });

  test('installs again when the lockfile has changed or the installation was interrupted', async () => {
    await bootstrap(['check']);
    rmSync(path.join(project, 'node_modules'), { recursive: true });
    mkdirSync(path.join(project, 'node_modules/half-extracted'), { recursive: true });
    expect((await bootstrap(['check'])).stderr).toContain('packages installed');
    expect(existsSync(path.join(project, 'node_modules/half-extracted'))).toBe(false);
  });

  test('a registry out of reach: a clear remedy, exit code 1, no stamp', async () => {
    const entry = { version: '1.0.0', integrity: 'sha512-AAAA', resolved: 'http://127.0.0.1:1/x.tgz' };
    write(
      'package.json',
      '{ "name": "p", "version": "1.0.0", "type": "module", "dependencies": { "x": "1.0.0" } }',
    );
    write(
      'package-lock.json',
      lockWith({
        '': { name: 'p', version: '1.0.0', dependencies: { x: '1.0.0' } },
        'node_modules/x': entry,
      }),
    );
    const { code, stdout, stderr } = await bootstrap(['check']);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('The npm registry cannot be reached.');
    expect(existsSync(stamp())).toBe(false);
  });

  test('a lockfile made for another package.json is refused by the name of the package', async () => {
    write('package.json', '{ "name": "p", "version": "1.0.0", "dependencies": { "y": "1.0.0" } }');
    const { code, stderr } = await bootstrap(['check']);
    expect(code).toBe(1);
    expect(stderr).toContain('package-lock.json does not fit package.json (y)');
  });

  test('passes exit codes and signals on', async () => {
    write('scripts/check.ts', 'process.exit(7);\n');
    expect(await bootstrap(['check'])).toMatchObject({ code: 7 });
    write(
      'scripts/check.ts',
      `process.on('SIGTERM', () => { console.log('stopping'); process.exit(3); });
       setInterval(() => {}, 1000);
       console.log('ready');\n`,
    );
    let asked = false;
    const ended = await bootstrap(['check'], (pid) => {
      if (!asked) process.kill(pid, 'SIGTERM');
      asked = true;
    });
    expect(ended).toMatchObject({ code: 3, stdout: 'ready\nstopping\n' });
  });

  test('is reached by the package’s own program too, through the link that npm makes', async () => {
    const manifest = JSON.parse(readFileSync(path.join(import.meta.dirname, '../package.json'), 'utf8'));
    expect(manifest.bin).toEqual({ atoll: 'scripts/atoll.mjs' });
    const link = path.join(project, 'atoll');
    symlinkSync('scripts/atoll.mjs', link);
    expect(await bootstrap(['check', 'x'], undefined, link)).toMatchObject({ code: 0, stdout: '["x"]\n' });
  });

  test('an unknown command is told which there are', async () => {
    const { code, stderr } = await bootstrap(['strat']);
    expect(code).toBe(1);
    expect(stderr).toContain('say which command: start, test, dev');
  });
});

describe('the lock', () => {
  test('lets one in at a time', async () => {
    const events: string[] = [];
    const visit = (name: string) =>
      withLock(project, async () => {
        events.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        events.push(`${name} out`);
      });
    await Promise.all([visit('a'), visit('b')]);
    expect(events).toEqual(['a in', 'a out', 'b in', 'b out']);
  });

  test('of a process that is gone does not hold anybody up', async () => {
    mkdirSync(path.join(project, '.tools'));
    write('.tools/bootstrap.lock', '999999999');
    await expect(withLock(project, async () => 'in')).resolves.toBe('in');
    expect(existsSync(path.join(project, '.tools/bootstrap.lock'))).toBe(false);
  });
});

describe('isInstalled', () => {
  const host = { os: 'linux', cpu: 'x64', libc: 'glibc' };
  const a = { version: '1.0.0', integrity: 'sha512-a' };
  const native = { version: '1.0.0', integrity: 'sha512-n', optional: true, os: ['linux'], cpu: ['x64'] };

  test.each([
    ['the same', { a }, { a }, true],
    ['one missing', { a, b: a }, { a }, false],
    ['one too many', { a }, { a, b: a }, false],
    ['another version', { a }, { a: { ...a, version: '1.0.1' } }, false],
    ['this host’s native missing', { native }, {}, false],
    ['this host’s native missing, by C library', { native: { ...native, libc: ['glibc'] } }, {}, false],
    ['the native of another C library missing', { native: { ...native, libc: ['musl'] } }, {}, true],
    ['another system’s native missing', { native: { ...native, os: ['darwin'] } }, {}, true],
    ['what only such a native needs missing', { a: { ...a, optional: true } }, {}, true],
  ])('%s', (_name, locked, installed, expected) => {
    expect(isInstalled({ '': {}, ...locked }, installed, host)).toBe(expected);
  });

  test('holds of this very checkout', () => {
    const root = path.dirname(import.meta.dirname);
    const read = (name: string) => JSON.parse(readFileSync(path.join(root, name), 'utf8')).packages;
    const [locked, installed] = [read('package-lock.json'), read('node_modules/.package-lock.json')];
    const libc = 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header;
    const here = { os: process.platform, cpu: process.arch, libc: libc ? 'glibc' : 'musl' };
    expect(isInstalled(locked, installed, here)).toBe(true);
  });
});

test.each([
  ['npm error code ENOTFOUND', 'npm registry cannot be reached'],
  ['npm error code ENOSPC', 'disk is full'],
  ['npm error code EACCES', 'writable'],
  ['npm error code E404', 'lacks a pinned package'],
])('remedy for %s', (output, words) => {
  expect(remedyFor(output)).toContain(words);
});
