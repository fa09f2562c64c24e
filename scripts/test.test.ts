/** The test command itself: it must fail when something fails and when nothing runs, and count what it ran. */
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { countsOfHardhat } from './test.ts';

const here = import.meta.dirname;
const made = path.join(here, 'made-by-test.test.ts');
afterEach(() => rmSync(made, { force: true }));

function run(...words: string[]) {
  const { status, stdout } = spawnSync(process.execPath, [path.join(here, 'test.ts'), ...words], {
    cwd: path.dirname(here),
    encoding: 'utf8',
  });
  return { status, lines: stdout.trim().split('\n'), stdout };
}

describe('npm test', () => {
  test('counts passed, failed and skipped, says why, and exits with 1', () => {
    writeFileSync(
      made,
      `/** Made by a test. */
       import { describe, expect, test, beforeAll } from 'vitest';
       test('holds', () => expect(1).toBe(1));
       test('breaks', () => expect({ a: 1 }).toEqual({ a: 2 }));
       test('waits', (context) => context.skip('no CUDA here'));
       describe('hooked', () => { beforeAll(() => { throw new Error('hook broke'); }); test('x', () => {}); });`,
    );
    const { status, lines, stdout } = run('made-by-test');
    expect(lines.at(-1)).toBe('1 passed, 2 failed, 2 skipped');
    expect(status).toBe(1);
    expect(stdout).toContain('waits: no CUDA here');
    expect(stdout).toContain('made-by-test.test.ts:4');
    expect(stdout).toContain('hook broke');
  });

  test('a file that cannot be loaded is a failure', () => {
    writeFileSync(made, "/** Made by a test. */\nimport './nothing-there.ts';\n");
    const { status, lines } = run('made-by-test');
    expect(lines.at(-1)).toBe('0 passed, 1 failed, 0 skipped');
    expect(status).toBe(1);
  });

  test('running nothing is no success', () => {
    const { status, stdout, lines } = run('matches-no-file');
    expect(status).toBe(1);
    expect(stdout).toContain('No test ran');
    expect(lines.at(-1)).toBe('0 passed, 0 failed, 0 skipped');
  });
});

test.each([
  ['21 passing (14 solidity, 7 nodejs)', { passed: 21, failed: 0, skipped: 0 }],
  ['  3 passing (3 nodejs)\n  1 failing (1 solidity)\n  2 skipped', { passed: 3, failed: 1, skipped: 2 }],
  ['Error HHE: cannot compile', { passed: 0, failed: 0, skipped: 0 }],
])('Hardhat’s words %j', (output, counts) => {
  expect(countsOfHardhat(output)).toEqual(counts);
});
