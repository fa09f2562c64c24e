/** The identity that a server showed first is the only one that is taken for it, until somebody says otherwise. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { Logger } from '../runtime/ports.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { toProblem } from '#protocol/errors.ts';
import { filePins, pinFolder } from './server-pins.ts';

const filled = (fill: number, size = 32): Hex => toHex(new Uint8Array(size).fill(fill));
const [network, other] = [filled(1), filled(2)];
const [known, swapped] = [filled(3, 20), filled(4, 20)];
const log: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
let dir: string;
let folder: string;

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-pins-'));
  folder = pinFolder(path.join(dir, 'name.key'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const pins = (url = 'http://127.0.0.1:4400', accept = false) => filePins({ folder, url, accept, log });
const wrong = { code: 'wrong_server' };

test('the first identity is pinned, over restarts, for its owner to read', async () => {
  await pins().check(network, known);
  await pins('http://127.0.0.1:4400/some/path').check(network, known);
  const [name] = await readdir(folder);
  const file = path.join(folder, name as string);
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ identity: known, network });
  if (process.platform !== 'win32') expect((await stat(file)).mode & 0o777).toBe(0o600);
});

test('another identity, or none any more, is refused with what to do, and an exit code of its own', async () => {
  await pins().check(network, known);
  const refusal = await pins()
    .check(network, swapped)
    .catch((error: Error) => error);
  expect(refusal).toMatchObject({ ...wrong, message: expect.stringMatching(/--accept-identity/) });
  expect((refusal as Error).message).toContain(known);
  expect((refusal as Error).message).toContain(swapped);
  expect(exitCodeOf(toProblem(refusal))).toBe(exitCodes.identityChanged);
  await expect(pins().check(other, swapped)).rejects.toMatchObject(wrong);
  await expect(pins().check(network, null)).rejects.toMatchObject(wrong);
  await pins().check(network, known);
});

test('a server without an identity is taken while none is pinned', async () => {
  await pins().check(network, null);
  await pins().check(network, null);
  await pins().check(network, known);
  await expect(pins().check(network, null)).rejects.toMatchObject(wrong);
});

test('a network is known at another address too', async () => {
  await pins().check(network, known);
  const moved = 'https://atoll.example';
  await expect(pins(moved).check(network, swapped)).rejects.toMatchObject(wrong);
  await expect(pins(moved).check(network, null)).rejects.toMatchObject(wrong);
  await pins(moved).check(network, known);
  await pins('https://another.example').check(other, swapped);
  expect(await readdir(folder)).toHaveLength(3);
});

test('a change is accepted when asked for, once', async () => {
  await pins().check(network, known);
  await pins('https://atoll.example').check(network, known);
  const accepting = pins(undefined, true);
  await accepting.check(network, swapped);
  await expect(accepting.check(network, known)).rejects.toMatchObject(wrong);
  await pins().check(network, swapped);
  // It is the network's new identity wherever the network is.
  await pins('https://atoll.example').check(network, swapped);
  await pins(undefined, true).check(network, null);
  await pins().check(network, null);
});

test('of two that pin at once one wins, and a pin that cannot be read is not taken for none', async () => {
  const answers = await Promise.allSettled([pins().check(network, known), pins().check(network, swapped)]);
  expect(answers.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  const [name] = await readdir(folder);
  for (const text of ['', '{}', 'x'.repeat(10_000)]) {
    await writeFile(path.join(folder, name as string), text);
    await expect(pins().check(network, known)).rejects.toMatchObject(wrong);
  }
});

test('where nothing can be written nothing is pinned, and it is tried again', async () => {
  await writeFile(folder, '');
  await expect(pins().check(network, known)).rejects.toMatchObject({ code: 'storage_failed' });
});
