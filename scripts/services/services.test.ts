/** The services that other tests rely on: they start, serve, survive what is done to them, and are gone afterwards. */
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import pg from 'pg';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { findProgram, requireProgram } from './install.ts';
import { startNats } from './nats.ts';
import { startPostgres } from './postgres.ts';
import { startTurn } from './turn.ts';

/** The service, or the test is skipped saying why there is none. */
async function orSkip<T>(starting: Promise<T>, skip: (why: string) => never): Promise<T> {
  try {
    return await starting;
  } catch (error) {
    if (codeOf(error) === 'unavailable') return skip((error as Error).message);
    throw error;
  }
}

const isRunning = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('PostgreSQL starts, keeps what was committed over kill -9, and is gone after stop', async ({ skip }) => {
  const server = await orSkip(startPostgres(), skip);
  onTestFinished(() => server.stop());
  const url = await server.createDatabase();
  const ask = async (sql: string) => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(sql)).rows as unknown[];
    } finally {
      await client.end();
    }
  };
  expect(await ask('SHOW fsync')).toEqual([{ fsync: 'on' }]);
  await ask('CREATE TABLE kept (x int)');
  await ask('INSERT INTO kept VALUES (7)');
  await server.halt('crash');
  await expect(ask('SELECT 1')).rejects.toThrow();
  await server.resume();
  expect(await ask('SELECT x FROM kept')).toEqual([{ x: 7 }]);
  const { pid } = server;
  await server.stop();
  expect(isRunning(pid)).toBe(false);
});

test('NATS starts, and is gone after stop', async ({ skip }) => {
  const server = await orSkip(startNats(), skip);
  expect(server.url).toMatch(/^nats:\/\/127\.0\.0\.1:\d+$/);
  await server.halt();
  await server.resume();
  await server.stop();
});

test('coturn starts, and is gone after stop', async ({ skip }) => {
  const server = await orSkip(startTurn('a secret'), skip);
  expect(server.url).toMatch(/^turn:127\.0\.0\.1:\d+$/);
  const { pid } = server;
  expect(isRunning(pid)).toBe(true);
  await server.stop();
  expect(isRunning(pid)).toBe(false);
});

test('a program that a variable names wrongly is not looked for elsewhere', async () => {
  const program = { name: 'sh', variable: 'ATOLL_TEST_PROGRAM', folders: () => [], packageName: 'none' };
  expect(findProgram(program)).toBeDefined();
  process.env['ATOLL_TEST_PROGRAM'] = '/nowhere/sh';
  onTestFinished(() => {
    delete process.env['ATOLL_TEST_PROGRAM'];
  });
  expect(findProgram(program)).toBeUndefined();
  await expect(requireProgram(program)).rejects.toMatchObject({ code: 'unavailable' });
});

test('what could not be installed for one test file is not tried again for the next', async () => {
  const name = `atoll-no-such-program-${process.pid}`;
  const program = { name, variable: 'ATOLL_TEST_PROGRAM', folders: () => [], packageName: 'none' };
  onTestFinished(() => rm(join(tmpdir(), `atoll-without-${name}-${process.ppid}`), { force: true }));
  let tries = 0;
  const install = () => {
    tries += 1;
    return Promise.reject(new AtollError('unavailable', 'No.', { details: { why: 'nobody answers' } }));
  };
  for (let i = 0; i < 3; i++) {
    await expect(requireProgram(program, install)).rejects.toMatchObject({ code: 'unavailable' });
  }
  expect(tries).toBe(1);
  await expect(requireProgram(program, install)).rejects.toThrow('nobody answers');
});
