/**
 * Where a connection comes from, as far as replicas of a unit have to come from different places: a keyed hash of the network prefix. The address
 * itself is neither kept nor logged, and without the network's secret the hash says nothing.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { hexToBytes } from 'viem';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';

/** Of an IPv4 address its /24, of an IPv6 one its /48. Empty for loopback, private and unreadable addresses: they say nothing of distance. */
export function networkPrefix(address: string | undefined, secret: Hex): string {
  const prefix = publicPrefix(address ?? '');
  if (prefix === null) return '';
  return toHex(hmac(sha256, hexToBytes(secret), new TextEncoder().encode(prefix))).slice(2, 34);
}

function publicPrefix(address: string): string | null {
  const plain = address
    .toLowerCase()
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/%.*$/, '');
  if (isIPv4(plain)) return isPrivate4(plain) ? null : plain.split('.').slice(0, 3).join('.');
  if (!isIPv6(plain)) return null;
  const groups = groupsOf(plain);
  const [first = 0] = groups;
  const isLocal = groups.slice(0, 7).every((group) => group === 0);
  // fc00::/7 is private, fe80::/10 link-local.
  if (isLocal || (first & 0xfe00) === 0xfc00 || (first & 0xffc0) === 0xfe80) return null;
  return groups
    .slice(0, 3)
    .map((group) => group.toString(16))
    .join(':');
}

function isPrivate4(address: string): boolean {
  const [a = 0, b = 0] = address.split('.').map(Number);
  if (a === 0 || a === 10 || a === 127) return true;
  if (a === 100) return b >= 64 && b < 128;
  return (a === 169 && b === 254) || (a === 172 && b >= 16 && b < 32) || (a === 192 && b === 168);
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::');
  const front = head.split(':').filter(Boolean);
  const back = (tail ?? '').split(':').filter(Boolean);
  const gap = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  return [...front, ...Array<string>(gap).fill('0'), ...back].map((group) => Number.parseInt(group, 16));
}
