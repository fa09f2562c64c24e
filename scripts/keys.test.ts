/** `npm run keys`: a key made beside a running coordinator works at once, and one that is ended no longer does. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { createClient } from '#protocol/http/client.ts';
import { temporaryFolder, testCoordinator } from '#coordinator/testing/harness.ts';

const run = promisify(execFile);
const keys = (dataDir: string, ...args: string[]) =>
  run(process.execPath, ['scripts/keys.ts', ...args, '--data-dir', dataDir], {
    env: { ...process.env, DATABASE_URL: '' },
  });

test('makes, lists and ends keys of the operator’s', async () => {
  const dataDir = await temporaryFolder();
  const coordinator = await testCoordinator({ dataDir });
  const made = (await keys(dataDir, 'make', 'ci runner', '--days', '1')).stdout.trim();
  const client = createClient({ base: coordinator.url, key: made });
  const listed = await client.call('keys', {});
  expect(listed.keys).toMatchObject([{ name: 'ci runner', owner: null, scopes: ['jobs'] }]);
  const id = listed.keys[0]?.id as string;
  expect((await keys(dataDir, 'list')).stdout).toContain(`${id}\tjobs\t`);
  expect((await keys(dataDir, 'list')).stdout).not.toContain(made.slice(-43));
  await keys(dataDir, 'end', id);
  await expect(client.call('keys', {})).rejects.toMatchObject({ code: 'unauthorized' });
  await expect(keys(dataDir, 'make', '<b>')).rejects.toMatchObject({ code: 2 });
  await expect(keys(dataDir, 'make', 'x', '--scope', 'all')).rejects.toMatchObject({ code: 2 });
});
