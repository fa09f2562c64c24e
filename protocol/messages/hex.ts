/**
 * Hex strings as they travel: `0x` and lower-case digits of a fixed length.
 *
 * A file of its own so that the page can parse the HTTP API without loading viem (about 98 KB): only its type is used here. A coordinator converts
 * some twenty of them for every replica, hence the tables.
 */
import type { Hex } from 'viem';
import * as v from 'valibot';

const hexOf = (bytes: number) =>
  v.pipe(
    v.string(),
    v.regex(new RegExp(`^0x[0-9a-f]{${bytes * 2}}$`), `expected 0x and ${bytes * 2} lower-case hex digits`),
    v.transform((text) => text as Hex),
  );

/** A contributor's id: the lower-case Ethereum address of its secp256k1 key. */
export const addressSchema = hexOf(20);
export const bytes32Schema = hexOf(32);
export const signatureSchema = hexOf(65);

const digitPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function toHex(bytes: Uint8Array): Hex {
  let text = '0x';
  for (let i = 0; i < bytes.length; i++) text += digitPairs[bytes[i] as number];
  return text as Hex;
}

/** By character code; 255 for what is no digit. */
const digitValues = new Uint8Array(128).fill(255);
for (let i = 0; i < 16; i++) {
  digitValues['0123456789abcdef'.charCodeAt(i)] = i;
  digitValues['0123456789ABCDEF'.charCodeAt(i)] = i;
}

/** The bytes of `0x` and an even number of digits. Throws a `RangeError` on anything else. */
export function fromHex(hex: Hex): Uint8Array {
  const bytes = new Uint8Array((hex.length - 2) >> 1);
  let isBad = hex.length % 2 !== 0 || !hex.startsWith('0x');
  for (let i = 0, at = 2; i < bytes.length; i++, at += 2) {
    const high = digitValues[hex.charCodeAt(at)] ?? 255;
    const low = digitValues[hex.charCodeAt(at + 1)] ?? 255;
    isBad ||= (high | low) > 15;
    bytes[i] = (high << 4) | low;
  }
  if (isBad) throw new RangeError('Not 0x and pairs of hex digits.');
  return bytes;
}
