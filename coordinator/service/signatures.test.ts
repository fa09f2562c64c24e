/** The native check of signatures takes and refuses exactly what viem does, on whole signatures and on mangled ones. */
import * as fc from 'fast-check';
import { type Hex, recoverAddress } from 'viem';
import { expect, test } from 'vitest';
import { fromHex, signingHash, toHex, verifySignature } from '#protocol/messages/contribution.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { nativeRecoverKey, signatureCheck } from './signatures.ts';

const native = nativeRecoverKey();
const word = fc.uint8Array({ minLength: 32, maxLength: 32 });
const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const hexOf = (value: bigint) => value.toString(16).padStart(64, '0');

/** What can go wrong with r | s | v: a flipped bit, noise, values at the borders of what is allowed. */
const edge = fc.constantFrom(0n, 1n, order >> 1n, (order >> 1n) + 1n, order - 1n, order, 2n ** 256n - 1n);
const mangling = fc.oneof(
  fc.record({ kind: fc.constant('none' as const) }),
  fc.record({ kind: fc.constant('bit' as const), at: fc.nat(65 * 8 - 1) }),
  fc.record({ kind: fc.constant('v' as const), v: fc.nat(255) }),
  fc.record({ kind: fc.constant('edges' as const), r: edge, s: edge, v: fc.constantFrom(27, 28) }),
  fc.record({ kind: fc.constant('noise' as const), r: word, s: word, v: fc.constantFrom(27, 28) }),
  fc.record({ kind: fc.constant('other s' as const) }),
);
type Mangling = typeof mangling extends fc.Arbitrary<infer M> ? M : never;

function mangled(signature: Hex, how: Mangling): Hex {
  const bytes = fromHex(signature);
  if (how.kind === 'bit') bytes[how.at >> 3] = (bytes[how.at >> 3] as number) ^ (1 << (how.at & 7));
  else if (how.kind === 'v') bytes[64] = how.v;
  else if (how.kind === 'edges') return `0x${hexOf(how.r)}${hexOf(how.s)}${how.v.toString(16)}`;
  else if (how.kind === 'noise') {
    bytes.set(how.r);
    bytes.set(how.s, 32);
    bytes[64] = how.v;
  } else if (how.kind === 'other s') {
    bytes.set(fromHex(`0x${hexOf(order - BigInt(`0x${signature.slice(66, 130)}`))}`), 32);
    bytes[64] = 55 - (bytes[64] as number);
  }
  return toHex(bytes);
}

/** viem's own answer, with the form that a contract asks for. */
async function viemAgrees(hash: Hex, signature: Hex, contributor: Hex): Promise<boolean> {
  if (!/1[bc]$/.test(signature) || BigInt(`0x${signature.slice(66, 130)}`) > order >> 1n) return false;
  try {
    return (await recoverAddress({ hash, signature })).toLowerCase() === contributor;
  } catch {
    return false;
  }
}

test.skipIf(!native)(
  'native, JavaScript and viem agree on every signature',
  { timeout: 60_000 },
  async () => {
    const network = toHex(new Uint8Array(32).fill(7));
    const check = signatureCheck(network);
    const signers = [createKey(), createKey(), createKey()].map(signerFromKey);
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(2), word, word, mangling, async (who, a, b, how) => {
        const signer = signers[who] as (typeof signers)[number];
        const message = { assignment: toHex(a), commitment: toHex(b) };
        const signature = mangled(await signer.sign(network, 'Commit', message), how);
        const holds = (promise: Promise<void>) =>
          promise.then(
            () => true,
            (error: { code?: string }) => (error.code === 'bad_signature' ? false : error),
          );
        const expected = await viemAgrees(signingHash(network, 'Commit', message), signature, signer.address);
        taken += Number(expected);
        expect(await holds(check('Commit', message, signature, signer.address))).toBe(expected);
        const plain = verifySignature(network, 'Commit', message, signature, signer.address);
        expect(await holds(plain)).toBe(expected);
      }),
      { numRuns: 300 },
    );
    expect(taken).toBeGreaterThan(0);
  },
);

test('the addon loads where it is prebuilt', () => {
  const prebuilt = ['linux-x64', 'darwin-arm64', 'win32-x64'];
  if (!prebuilt.includes(`${process.platform}-${process.arch}`)) return;
  expect(native).not.toBeNull();
});
