/** A local contributor that ends is started again, with growing pauses, and the person is told why. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { startLocalContributors, threadsEach } from './local-contributors.ts';

test('local contributors share the cores and leave one', () => {
  expect([1, 2, 4, 8, 64].map((cores) => threadsEach(cores, 2))).toEqual([1, 1, 1, 3, 8]);
  expect(threadsEach(4, 1)).toBe(3);
  expect(threadsEach(4, 0)).toBe(3);
});

test('a contributor that cannot run is tried again and again, until it is stopped', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'atoll-local-'));
  const key = path.join(dir, 'local-1.key');
  writeFileSync(key, 'readable by everybody, so it is refused');
  chmodSync(key, 0o644);
  const said: string[] = [];
  const twice = Promise.withResolvers<void>();
  const locals = startLocalContributors({
    count: 1,
    url: 'http://127.0.0.1:9',
    dir,
    say: (line) => {
      if (said.push(line) === 2) twice.resolve();
    },
  });
  await twice.promise;
  await locals.stop();
  expect(said[0]).toMatch(
    /^contributor local-1 ended \(exit code 2: .*chmod 600.*\); starting it again in 1 s/,
  );
  expect(said[1]).toContain('starting it again in 2 s');
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(said).toHaveLength(2);
  rmSync(dir, { recursive: true });
});
