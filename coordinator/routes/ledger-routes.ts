/**
 * The routes that look at the ledger: transfers, rewards, shares, lineage. Transfers and shares are shown as far as no transfer names a result that is not
 * published yet.
 */
import { ledgerEndpoints } from '#protocol/http/ledger-table.ts';
import type { Mount } from './mount.ts';
import type { RecordPorts } from './read-routes.ts';

export function addLedger(mount: Mount, { records, ledger }: RecordPorts): void {
  mount(ledgerEndpoints.ledger, ({ query }) => records.ledger(query.after, query.limit));
  mount(ledgerEndpoints.shares, ({ params, query }) => records.shares(params.id, query));
  mount(ledgerEndpoints.rewards, async () => ({ last: await ledger.rewards() }));
  mount(ledgerEndpoints.reward, ({ params }) => ledger.reward(params.address));
  mount(ledgerEndpoints.lineage, ({ params, query }) => ledger.lineage(params.checkpoint, query.depth));
}
