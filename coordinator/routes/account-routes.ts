/** The routes of wallets and clients: sign-in, keys, links. */
import { AtollError } from '#protocol/errors.ts';
import type { Scope } from '#protocol/http/accounts.ts';
import { endpoints } from '#protocol/http/table.ts';
import { verifySignature } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { ApiKeys } from './api-keys.ts';
import type { Mount } from './mount.ts';
import type { SignIns } from './sign-in.ts';

export interface AccountPorts {
  keys: ApiKeys;
  signIns: SignIns;
  network: Hex;
  /** Whether a wallet may have keys that start jobs. */
  isClient: (wallet: Hex) => boolean;
  /** From now on the wallet answers for the contributor. Throws `not_found` for one that never connected. */
  link: (contributor: Hex, wallet: Hex) => Promise<void>;
}

const scopes: readonly Scope[] = ['jobs'];

export function addAccounts(mount: Mount, { keys, signIns, network, isClient, link }: AccountPorts): void {
  mount(endpoints.signIn, ({ body, context }) => signIns.begin(body, context.req.header('host')));
  mount(endpoints.makeKey, async ({ body }) => {
    const { wallet, action } = await signIns.finish('key', body.nonce, body.signature);
    if (!isClient(wallet)) {
      throw new AtollError('forbidden', 'The operator of this coordinator has not admitted this wallet.');
    }
    return keys.make({ name: action.name, owner: wallet, scopes });
  });
  mount(endpoints.keys, ({ principal, query }) => keys.list(principal.owner, query));
  mount(endpoints.endKey, ({ principal, params }) => keys.end(params.id, principal.owner));
  mount(endpoints.link, async ({ body }) => {
    const { wallet, action } = await signIns.finish('link', body.nonce, body.signature);
    const { contributor } = action;
    const message = { contributor, wallet, nonce: `0x${body.nonce}` as const };
    await verifySignature(network, 'Link', message, body.contributorSignature, contributor);
    await link(contributor, wallet);
    return { contributor, wallet };
  });
}
