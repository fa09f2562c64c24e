/** The routes that only look: the network, its jobs, its records, its blocks, its health. */
import type { NetworkInfo } from '#protocol/http/api.ts';
import type { IceInfo } from '#protocol/http/p2p.ts';
import { endpoints } from '#protocol/http/table.ts';
import type { EventHub } from '../service/events.ts';
import type { Metrics } from '../service/metrics.ts';
import type { LedgerQueries } from '../service/ledger-queries.ts';
import type { Queries } from '../service/queries.ts';
import type { RecordQueries } from '../service/record-queries.ts';
import type { OriginLeases } from '../p2p/origin-leases.ts';
import { createGateway } from './gateway.ts';
import { jobEvents } from './job-events.ts';
import type { AppContext } from './context.ts';
import type { Mount } from './mount.ts';

export interface ReadPorts {
  queries: Queries;
  events: EventHub;
  metrics: Metrics;
  leases: OriginLeases;
  network: () => NetworkInfo;
  /** For a client, by its address. */
  ice: (client: string) => IceInfo;
  /** Who asks, as it is counted. */
  clientOf: (context: AppContext) => string;
  /** Fails when nothing can be written. */
  ready: () => Promise<void>;
  heartbeatMs: number;
  openApi: Record<string, unknown>;
}

export interface RecordPorts {
  records: RecordQueries;
  ledger: LedgerQueries;
}

export function addReads(mount: Mount, ports: ReadPorts): void {
  const { queries } = ports;
  mount(endpoints.network, () => ports.network());
  mount(endpoints.ice, ({ context }) => ports.ice(ports.clientOf(context)));
  mount(endpoints.jobs, ({ query }) => queries.jobs(query));
  mount(endpoints.job, ({ params }) => queries.job(params.id));
  mount(endpoints.jobRounds, ({ params, query }) => queries.rounds(params.id, query));
  mount(endpoints.jobEvents, ({ params, context }) => jobEvents(context, params.id, ports));
  mount(endpoints.unit, ({ params }) => queries.unit(params.cid));
  mount(endpoints.contributor, ({ params }) => queries.contributor(params.address));
  const { leases, metrics } = ports;
  const gateway = createGateway({ leases, metrics, block: (cid) => queries.block(cid) });
  mount(endpoints.block, ({ params, query, context }) => gateway(context, params.cid, query));
}

/** Who is here, what was decided, and what it came to. */
export function addRecords(mount: Mount, { records }: RecordPorts): void {
  mount(endpoints.peers, ({ query }) => records.peers(query));
  mount(endpoints.figures, () => records.figures());
  mount(endpoints.wallet, ({ params, query }) => records.wallet(params.address, query));
  mount(endpoints.decisions, ({ query }) => records.decisions(query.job, query));
  mount(endpoints.consensus, ({ params }) => records.consensus(params.unit));
  mount(endpoints.deltas, ({ query }) => records.deltas(query.job, query));
}

export function addOperations(mount: Mount, { ready, metrics, openApi }: ReadPorts): void {
  mount(endpoints.openapi, () => openApi);
  mount(endpoints.health, () => ({ status: 'ok' }));
  mount(endpoints.ready, async () => {
    await ready();
    return { status: 'ready' };
  });
  mount(endpoints.prometheus, async ({ context }) =>
    context.body(await metrics.registry.metrics(), 200, { 'content-type': metrics.registry.contentType }),
  );
}
