/**
 * What contributors know this network's coordinator by: a key that signs the nonce of every hello. Made at the first start and kept in the database, so that all processes
 * on it are one server to the world; or given (ATOLL_IDENTITY_KEY), and then kept nowhere.
 *
 * Which identity was shown last is noted, so that a key that is forgotten is told of before contributors turn away.
 */
import { AtollError } from '#protocol/errors.ts';
import { signingBytes } from '#protocol/messages/typed-data.ts';
import { fromHex, toHex } from '#protocol/messages/hex.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import type { Hex } from 'viem';
import { keccak256 } from './service/keccak.ts';
import type { Logger } from './service/ports.ts';
import { nativeSign } from './service/signatures.ts';
import type { Shelf } from './storage/shelf.ts';

export interface ServerIdentity {
  readonly address: Hex;
  /** Proves the identity to one contributor, over the nonce that it has drawn. */
  prove(contributor: Hex, nonce: Hex): Promise<Hex>;
}

export interface IdentityOptions {
  shelf: Shelf;
  network: Hex;
  /** The key, where it is not to be the database's. */
  given: Hex | null;
  now: number;
  log: Logger;
}

const kind = 'identity';

/** Throws `bad_config` for what is no key, and where the identity that was shown last needs a key that is not here. */
export async function openIdentity(options: IdentityOptions): Promise<ServerIdentity> {
  const { shelf, network, given, now, log } = options;
  const key = given ?? (await keptKey(shelf, now));
  const identity = identityOf(network, key);
  const shown = await textAt(shelf, 'shown', now);
  if (shown !== null && shown !== identity.address) {
    if (given === null) throw forgotten(shown);
    const words = 'The identity of this network changes: contributors that know the old one stay away until';
    log.warn({ was: shown, is: identity.address }, `${words} they are started with --accept-identity.`);
  }
  if (shown !== identity.address) await shelf.put(recordOf('shown', identity.address, now));
  log.info({ identity: identity.address }, 'Contributors know this coordinator by its identity.');
  return identity;
}

/** Of several processes that start at once, all get the key of the first. */
async function keptKey(shelf: Shelf, now: number): Promise<Hex> {
  const kept = await textAt(shelf, 'key', now);
  if (kept !== null) return kept as Hex;
  await shelf.add(recordOf('key', createKey(), now), now);
  return (await textAt(shelf, 'key', now)) as Hex;
}

function identityOf(network: Hex, key: Hex): ServerIdentity {
  try {
    const signer = signerFromKey(key);
    const native = nativeSign();
    const secret = fromHex(key);
    return {
      address: signer.address,
      prove: async (contributor, nonce) => {
        const message = { contributor, nonce };
        if (!native) return signer.sign(network, 'Server', message);
        return toHex(native(signingBytes(network, 'Server', message, keccak256), secret));
      },
    };
  } catch {
    // Without the cause: it might quote the key.
    throw new AtollError(
      'bad_config',
      'ATOLL_IDENTITY_KEY is no key of secp256k1. Give 0x and 64 hex digits.',
    );
  }
}

function recordOf(key: string, value: Hex, now: number) {
  return { kind, key, owner: '', value: JSON.stringify(value), createdAt: now, expiresAt: null };
}

async function textAt(shelf: Shelf, key: string, now: number): Promise<string | null> {
  const record = await shelf.get(kind, key, now);
  return record ? (JSON.parse(record.value) as string) : null;
}

function forgotten(shown: string): AtollError {
  const words = [
    `Contributors know this network as ${shown}, by a key that was given with ATOLL_IDENTITY_KEY and is not given now.`,
    'Give it again, to this and every other process on the database, or give a new one: contributors then have to accept it.',
  ];
  return new AtollError('bad_config', words.join(' '), { details: { setting: 'identityKey' } });
}
