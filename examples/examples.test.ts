/** Every example runs, says what it should, and stays short enough to be read. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { testJob, testText } from '#coordinator/testing/fake-programs.ts';
import { testContributor, testCoordinator } from '#coordinator/testing/harness.ts';

const run = promisify(execFile);
const file = fileURLToPath(new URL('./train-and-generate.ts', import.meta.url));

describe('train-and-generate', () => {
  it.each([['wasm'], ['reference']])('learns its sentence on %s', async (backend) => {
    const { stdout } = await run(process.execPath, [file, backend]);
    expect(stdout).toBe('atoll is one');
  });

  it('has at most 30 lines', async () => {
    expect((await readFile(file, 'utf8')).trimEnd().split('\n').length).toBeLessThanOrEqual(30);
  });
});

describe('verify-history', () => {
  const verify = fileURLToPath(new URL('./verify-history.ts', import.meta.url));

  it('computes the ledger anew and follows the newest checkpoint to its beginning', async () => {
    const coordinator = await testCoordinator();
    for (let i = 0; i < 2; i++) testContributor(coordinator).start();
    const data = { source: 'a test', licence: 'CC0-1.0', quality: 1000 };
    const job = await coordinator.ensureJob({ ...testJob(), data }, testText(), { stopAfterRounds: 2 });
    await coordinator.settled(job, 2);
    const { stdout } = await run(process.execPath, [verify, coordinator.url]);
    expect(stdout).toMatch(
      /^[1-9]\d* transfers, \d+ accounts\ntest: a test, consumed 0.11 times\n2 rounds\n$/,
    );
  });

  it.each(['"amount":"', '"parent":"'])(
    'finds out a coordinator that answers with another %s',
    async (field) => {
      const coordinator = await testCoordinator();
      for (let i = 0; i < 2; i++) testContributor(coordinator).start();
      const job = await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: 2 });
      await coordinator.settled(job, 2);
      const forged = field.includes('amount') ? `${field}9` : `${field}${job}","was":"`;
      const between = createServer((request, response) => {
        void (async () => {
          const answer = await fetch(`${coordinator.url}${request.url ?? ''}`);
          const isJson = answer.headers.get('content-type')?.includes('json');
          response.end(
            isJson
              ? (await answer.text()).replaceAll(field, forged)
              : new Uint8Array(await answer.arrayBuffer()),
          );
        })();
      });
      await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve));
      onTestFinished(() => void between.close());
      const { port } = between.address() as AddressInfo;
      await expect(run(process.execPath, [verify, `http://127.0.0.1:${port}`])).rejects.toThrow(
        /This is not so/,
      );
    },
  );
});
