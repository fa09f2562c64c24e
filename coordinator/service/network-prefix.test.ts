/** Network prefixes: what is near is equal, what is private says nothing, and the hash hangs on the secret. */
import { expect, test } from 'vitest';
import type { Hex } from 'viem';
import { networkPrefix } from './network-prefix.ts';

const secret: Hex = `0x${'11'.repeat(32)}`;
const other: Hex = `0x${'22'.repeat(32)}`;

test('addresses of one /24 or /48 have one prefix, others another', () => {
  const of = (address: string) => networkPrefix(address, secret);
  expect(of('203.0.113.7')).toBe(of('203.0.113.250'));
  expect(of('::ffff:203.0.113.7')).toBe(of('203.0.113.7'));
  expect(of('203.0.112.7')).not.toBe(of('203.0.113.7'));
  expect(of('2001:db8:1:2::3')).toBe(of('2001:0db8:0001:ffff:1:2:3:4'));
  expect(of('2001:db8:2::3')).not.toBe(of('2001:db8:1::3'));
  expect(of('203.0.113.7')).toMatch(/^[0-9a-f]{32}$/);
});

test('without the secret the prefix cannot be made', () => {
  expect(networkPrefix('203.0.113.7', other)).not.toBe(networkPrefix('203.0.113.7', secret));
});

test.each([
  ...[undefined, '', 'nonsense', '127.0.0.1', '::1', '::', '10.1.2.3', '172.16.0.1', '192.168.1.1'],
  ...['100.64.0.1', '169.254.1.1', 'fd00::1', 'fe80::1%eth0', '::ffff:10.0.0.1'],
])('%s says nothing of where it is', (address) => {
  expect(networkPrefix(address, secret)).toBe('');
});
