/**
 * What a wallet signs (EIP-4361) to make an API key or to link a contributor.
 *
 * The text is written here and kept with its nonce, so that what comes back is compared and not parsed. A nonce is good once, for five minutes, for what
 * its text says. Contract wallets (ERC-1271) are not supported: that would take a chain to ask.
 */
import { getAddress, hashMessage, recoverAddress } from 'viem';
import { createSiweMessage } from 'viem/siwe';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { type SignIn, type SignInRequest, signInRequestSchema } from '#protocol/http/accounts.ts';
import type { Hex } from 'viem';
import type { Clock, Random } from '../service/ports.ts';
import type { Shelf } from '../storage/shelf.ts';

const kind = 'nonce';
const goodMs = 5 * 60_000;

export interface SignInPorts {
  shelf: Shelf;
  clock: Clock;
  random: Random;
  network: Hex;
  chainId: () => number;
  /** Origin that wallets show: `http://127.0.0.1:4400`; null where none can be trusted. */
  publicUrl: (host: string | undefined) => string | null;
}

const storedSchema = v.object({ request: signInRequestSchema, message: v.string() });

export type Signed<T extends SignInRequest['action']['type']> = {
  wallet: Hex;
  action: Extract<SignInRequest['action'], { type: T }>;
};

export class SignIns {
  readonly #ports: SignInPorts;

  constructor(ports: SignInPorts) {
    this.#ports = ports;
  }

  /** Throws `unavailable` where the coordinator does not know under which name it is reached. */
  async begin(request: SignInRequest, host: string | undefined): Promise<SignIn> {
    const { shelf, clock, random, chainId, publicUrl } = this.#ports;
    const origin = publicUrl(host);
    if (origin === null) {
      throw new AtollError(
        'unavailable',
        'Wallets cannot sign in: the operator has to set ATOLL_PUBLIC_URL, the address that wallets are shown.',
      );
    }
    const now = clock.now();
    const nonce = random.bytes32().slice(2);
    const message = createSiweMessage({
      domain: new URL(origin).host,
      uri: origin,
      // Wallets insist on the checksummed form in the text.
      address: getAddress(request.address),
      statement: this.#statement(request.action),
      version: '1',
      chainId: chainId(),
      nonce,
      issuedAt: new Date(now),
      expirationTime: new Date(now + goodMs),
    });
    const value = JSON.stringify({ request, message });
    await shelf.put({ kind, key: nonce, owner: '', value, createdAt: now, expiresAt: now + goodMs });
    return { nonce, message, expiresAt: new Date(now + goodMs).toISOString() };
  }

  #statement(action: SignInRequest['action']): string {
    const where = `on the Atoll network ${this.#ports.network}`;
    return action.type === 'key'
      ? `Make an API key named "${action.name}" ${where}.`
      : `Link the contributor ${action.contributor} to this wallet ${where}.`;
  }

  /** Uses up the nonce. Throws `conflict` when it is none (any more), `bad_signature` unless the wallet signed its text. */
  async finish<T extends SignInRequest['action']['type']>(
    type: T,
    nonce: string,
    signature: Hex,
  ): Promise<Signed<T>> {
    const { shelf, clock } = this.#ports;
    const record = await shelf.take(kind, nonce, clock.now());
    const stored = record ? v.parse(storedSchema, JSON.parse(record.value)) : null;
    if (stored?.request.action.type !== type) {
      throw new AtollError(
        'conflict',
        'This nonce was never given, has been used, or has run out. Begin anew.',
      );
    }
    const { address, action } = stored.request;
    if ((await signerOf(stored.message, signature)) !== address) {
      throw new AtollError('bad_signature', `The text is not signed by ${address}.`);
    }
    return { wallet: address, action: action as Signed<T>['action'] };
  }
}

async function signerOf(message: string, signature: Hex): Promise<string | null> {
  try {
    return (await recoverAddress({ hash: hashMessage(message), signature })).toLowerCase();
  } catch {
    return null;
  }
}
