/** One identity a network: made once, shared by all processes, proven to each contributor by its own nonce. */
import { expect, test } from 'vitest';
import { verifySignature } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { type IdentityOptions, openIdentity } from './identity.ts';
import { type Logger, silentLogger } from './service/ports.ts';
import { MemoryShelf, type Shelf } from './storage/shelf.ts';
import { getJson, temporaryFolder, testContributor, testCoordinator } from './testing/harness.ts';
import { hex } from './testing/units.ts';

const network = hex(1);
const contributor = hex(7, 20);

function open(shelf: Shelf, given: Hex | null = null, log: Logger = silentLogger) {
  const options: IdentityOptions = { shelf, network, given, now: 0, log };
  return openIdentity(options);
}

test('is made once, and the same for all processes on a database', async () => {
  const shelf = new MemoryShelf();
  const [a, b, c] = await Promise.all([open(shelf), open(shelf), open(shelf)]);
  expect(new Set([a, b, c].map(({ address }) => address)).size).toBe(1);
  expect((await open(shelf)).address).toBe(a.address);
  expect((await open(new MemoryShelf())).address).not.toBe(a.address);
});

test('proves itself over one nonce to one contributor on one network', async () => {
  const key = createKey();
  const { address, prove } = await open(new MemoryShelf(), key);
  expect(address).toBe(signerFromKey(key).address);
  const nonce = hex(3);
  const signature = await prove(contributor, nonce);
  expect(signature).toBe(await signerFromKey(key).sign(network, 'Server', { contributor, nonce }));
  const check = (on: Hex, by: Hex, over: Hex) =>
    verifySignature(on, 'Server', { contributor: by, nonce: over }, signature, address);
  await check(network, contributor, nonce);
  const refused = { code: 'bad_signature' };
  await expect(check(hex(2), contributor, nonce)).rejects.toMatchObject(refused);
  await expect(check(network, hex(8, 20), nonce)).rejects.toMatchObject(refused);
  await expect(check(network, contributor, hex(4))).rejects.toMatchObject(refused);
  // The same fields as a hello's, and no hello.
  await expect(
    verifySignature(network, 'Hello', { contributor, nonce }, signature, address),
  ).rejects.toMatchObject(refused);
});

test('a key that was given has to be given again; another one is a change that is told of', async () => {
  const shelf = new MemoryShelf();
  const [first, second] = [createKey(), createKey()];
  const warned: string[] = [];
  const log = { ...silentLogger, warn: (_: object, message: string) => void warned.push(message) };
  const { address } = await open(shelf, first, log);
  expect((await open(shelf, first, log)).address).toBe(address);
  await expect(open(shelf, null, log)).rejects.toMatchObject({
    code: 'bad_config',
    message: expect.stringContaining(address),
  });
  expect(warned).toEqual([]);
  expect((await open(shelf, second, log)).address).toBe(signerFromKey(second).address);
  expect(warned).toEqual([expect.stringContaining('--accept-identity')]);
  const zero: Hex = `0x${'00'.repeat(32)}`;
  const refusal = await open(shelf, zero).catch((error: Error) => error);
  expect(refusal).toMatchObject({ code: 'bad_config' });
  expect(JSON.stringify(refusal)).not.toContain(zero);
});

test('is shown, stays over a restart, and proven only to who asks', async () => {
  const dataDir = await temporaryFolder();
  const coordinator = await testCoordinator({ dataDir });
  const { identity } = coordinator;
  expect(await getJson(coordinator, '/v1/network')).toMatchObject({ identity });
  const old = testContributor(coordinator).start();
  expect(await old.frame('welcome')).not.toHaveProperty('server');
  old.stop();
  await coordinator.close();
  expect((await testCoordinator({ dataDir })).identity).toBe(identity);
});
