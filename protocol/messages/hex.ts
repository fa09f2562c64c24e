/**
 * Hex strings as they travel: `0x` and lower-case digits of a fixed length.
 *
 * A file of its own so that the page can parse the HTTP API without loading viem (about 98 KB): only its type is used here.
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

export function toHex(bytes: Uint8Array): Hex {
  let text = '0x';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text as Hex;
}
