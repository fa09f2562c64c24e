/** The ledger as the port offers it for reading. */
import type { LedgerReads } from '../port.ts';
import { balancesOf, poolLeft, rewards, sharesOf, tipOf, transfersAfter, transfersOf } from './ledger.ts';
import { guarded, type SqlPorts } from './ports.ts';

export function ledgerReads({ db }: SqlPorts): LedgerReads {
  return guarded<LedgerReads>({
    tip: () => tipOf(db),
    transfersAfter: (seq, most) => transfersAfter(db, seq, most),
    transfersOf: (contributor, most, before) => transfersOf(db, contributor, most, before),
    balancesOf: (contributor) => balancesOf(db, contributor),
    poolOf: (job) => poolLeft(db, job),
    rewards: () => rewards(db),
    sharesOf: (job, page) => sharesOf(db, job, page),
  });
}
