/** The second thread gives the answers of the first one, in the right order, and nothing waits for ever when it is gone. */
import { expect, onTestFinished, test } from 'vitest';
import { toHex } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { silentLogger } from './ports.ts';
import { SignaturePool } from './signature-pool.ts';

const network = toHex(new Uint8Array(32).fill(3));
const signer = signerFromKey(createKey());
const other = signerFromKey(createKey());

function poolOf(busyPerSecond: number): SignaturePool {
  const pool = new SignaturePool({ network, clock: { now: () => 0 }, log: silentLogger, busyPerSecond });
  onTestFinished(() => pool.close());
  return pool;
}

/** Every third is signed by somebody else. */
async function checkMany(pool: SignaturePool, count: number): Promise<(string | null)[]> {
  const checks = Array.from({ length: count }, async (_, i) => {
    const message = { assignment: toHex(new Uint8Array(32).fill(i)), commitment: network };
    const signature = await (i % 3 === 2 ? other : signer).sign(network, 'Commit', message);
    return pool.verify('Commit', message, signature, signer.address).then(
      () => null,
      (error: { code: string }) => error.code,
    );
  });
  return Promise.all(checks);
}

const expected = (count: number) =>
  Array.from({ length: count }, (_, i) => (i % 3 === 2 ? 'bad_signature' : null));

test('a few are checked without a thread', async () => {
  const pool = poolOf(12);
  expect(await checkMany(pool, 12)).toEqual(expected(12));
  expect(pool.hasThread).toBe(false);
});

test('many are checked on the thread, with the same answers', async () => {
  const pool = poolOf(3);
  expect(await checkMany(pool, 40)).toEqual(expected(40));
  expect(pool.hasThread).toBe(true);
  expect(await checkMany(pool, 9)).toEqual(expected(9));
});

test('what a thread had when it ended is checked all the same', async () => {
  const pool = poolOf(0);
  const checks = checkMany(pool, 30);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await pool.close();
  expect(await checks).toEqual(expected(30));
});
