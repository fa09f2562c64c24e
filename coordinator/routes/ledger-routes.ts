/** The routes that look at the ledger: transfers, rewards, shares, lineage. */
import * as v from 'valibot';
import { addressSchema } from '#protocol/messages/hex.ts';
import { ledgerEndpoints } from '#protocol/http/ledger-table.ts';
import type { LedgerQueries } from '../service/ledger-queries.ts';
import { pageOf, readCursor } from '../service/pages.ts';
import type { Mount } from './mount.ts';

export function addLedger(mount: Mount, queries: LedgerQueries): void {
  mount(ledgerEndpoints.ledger, ({ query }) => queries.ledger(query.after, query.limit));
  mount(ledgerEndpoints.rewards, async () => ({ last: await queries.rewards() }));
  mount(ledgerEndpoints.reward, ({ params }) => queries.reward(params.address));
  mount(ledgerEndpoints.shares, async ({ params, query }) => {
    const after = readCursor(v.tuple([addressSchema]), query.cursor)?.[0] ?? '';
    const found = await queries.shares(params.id, { after, most: query.limit + 1 });
    const { rows, next } = pageOf(found, query.limit, ({ contributor }) => [contributor]);
    return { shares: rows, next };
  });
  mount(ledgerEndpoints.lineage, ({ params, query }) => queries.lineage(params.checkpoint, query.depth));
}
