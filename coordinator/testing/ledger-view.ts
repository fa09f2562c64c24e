/** The part of a `View` that the ledger needs, over maps: for its tests. It refuses an overdraft at once, so that the test that made it fails there. */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { mayOwe } from '../ledger/accounts.ts';
import type {
  AccountRow,
  ContributorRow,
  NewTransfer,
  ReplicaRow,
  Rows,
  TableName,
  Transfer,
} from '../record/rows.ts';
import { calm, type Climate, type View } from '../record/view.ts';

export interface LedgerView extends View {
  climate: Climate;
  readonly transfers: Transfer[];
  readonly accounts: Map<string, AccountRow>;
  readonly allReplicas: Map<Hex, ReplicaRow>;
}

export function ledgerView(): LedgerView {
  const accounts = new Map<string, AccountRow>();
  const contributors = new Map<Hex, ContributorRow>();
  const allReplicas = new Map<Hex, ReplicaRow>();
  const transfers: Transfer[] = [];
  const add = (id: string, amount: bigint) => {
    const balance = (accounts.get(id)?.balance ?? 0n) + amount;
    if (balance < 0n && !mayOwe(id)) throw new RangeError(`${id} is overdrawn by ${-balance}.`);
    accounts.set(id, { id, balance });
  };
  return {
    climate: { ...calm },
    transfers,
    accounts,
    allReplicas,
    contributor: (address) => contributors.get(address) ?? null,
    replica: (assignment) => allReplicas.get(assignment) ?? null,
    replicas: (unit: Cid) => [...allReplicas.values()].filter((replica) => replica.unit === unit),
    account: (id) => accounts.get(id) ?? null,
    put<T extends TableName>(table: T, row: Rows[T]) {
      if (table === 'contributors') contributors.set((row as ContributorRow).address, row as ContributorRow);
      if (table === 'replicas') allReplicas.set((row as ReplicaRow).assignment, row as ReplicaRow);
    },
    post(transfer: NewTransfer) {
      transfers.push({ ...transfer, seq: transfers.length + 1, at: 1_000 + transfers.length });
      add(transfer.debit, -transfer.amount);
      add(transfer.credit, transfer.amount);
    },
    ...unused,
  };
}

const no = (): never => {
  throw new Error('The ledger does not look at this.');
};
const unused = { unit: no, device: no, openReplicas: no, attach: no, publish: no };

export function contributorRow(address: Hex, change: Partial<ContributorRow> = {}): ContributorRow {
  return {
    ...{ address, owner: address, prefix: '', device: 'd', vendor: '', tier: 'participant', stake: 0n },
    ...{ agreed: 0, rejected: 0, faults: 0, strikes: 0, lastRejectedAt: null, outlawedAt: null },
    ...{ trustedAt: null, reviewFrom: null, firstSeenAt: 0, lastSeenAt: 0 },
    ...change,
  };
}

export function replicaRow(
  assignment: Hex,
  unit: Cid,
  contributor: Hex,
  state: ReplicaRow['state'],
): ReplicaRow {
  return {
    ...{
      assignment,
      unit,
      attempt: 1,
      purpose: 'vote',
      contributor,
      owner: contributor,
      prefix: '',
      device: 'd',
    },
    ...{ vendor: '', weight: 1, state, leasedAt: 0, deadline: 0, commitment: null, commitSignature: null },
    ...{ salt: null, digest: null, result: null, revealSignature: null, credit: 0n, settledAt: null },
  };
}
