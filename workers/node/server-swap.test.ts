/** A real node before a server that was swapped: it leaves with an exit code of its own, and stays when it is told that the change is right. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { temporaryFolder, testCoordinator } from '#coordinator/testing/harness.ts';
import { exitCodes } from './exit-codes.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function start(url: string, dir: string, ...more: string[]) {
  const own = [
    '--url',
    url,
    '--data-dir',
    dir,
    '--backend',
    'wasm',
    '--threads',
    '1',
    '--peers',
    'off',
    ...more,
  ];
  const command = ['--import', './scripts/raw-hooks.ts', 'workers/node/main.ts', ...own];
  const child = spawn(process.execPath, command, { cwd: root, stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  let said = '';
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  child.stderr.on('data', (text: Buffer) => (said += text.toString()));
  const says = async (words: RegExp) => {
    while (!words.test(said)) {
      if (child.exitCode !== null) throw new Error(`It ended: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const stop = async () => {
    child.kill('SIGTERM');
    return exited;
  };
  return { exited, says, stop, said: () => said };
}

test('another server at the address is refused, until the change is accepted', async () => {
  const dir = await temporaryFolder();
  const first = await testCoordinator();
  const node = start(first.url, dir);
  await node.says(/is pinned/);
  expect(await node.stop()).toBe(exitCodes.stopped);
  await first.close();
  const second = await testCoordinator({ port: first.port, dataDir: path.join(dir, 'other') });
  const refused = start(second.url, dir);
  expect(await refused.exited).toBe(exitCodes.identityChanged);
  expect(refused.said()).toContain(first.identity);
  expect(refused.said()).toContain(second.identity);
  expect(refused.said()).toMatch(/--accept-identity/);
  const accepting = start(second.url, dir, '--accept-identity');
  await accepting.says(/was accepted, as asked/);
  expect(await accepting.stop()).toBe(exitCodes.stopped);
});
