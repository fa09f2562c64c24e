/** The rules of everything that the record's operations decide by. */
import { defaultRules, type Rules } from '../consensus/consensus.ts';
import { defaultLedgerRules, type LedgerRules } from '../ledger/rules.ts';
import { defaultSchedulerRules, type SchedulerRules } from '../scheduler/scheduler.ts';
import { defaultTrustRules, type TrustRules } from '../trust/types.ts';
import type { Hex } from 'viem';

export interface RecordRules {
  consensus: Rules;
  trust: TrustRules;
  ledger: LedgerRules;
  scheduling: SchedulerRules;
  /** The operator's own contributors: their word is final. Lower-case addresses. */
  referees: ReadonlySet<Hex>;
}

export const defaultRecordRules: RecordRules = {
  consensus: defaultRules,
  trust: defaultTrustRules,
  ledger: defaultLedgerRules,
  scheduling: defaultSchedulerRules,
  referees: new Set(),
};
