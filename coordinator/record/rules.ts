/** The rules of everything that the record's operations decide by. */
import { defaultRules, type Rules } from '../consensus/consensus.ts';
import { defaultSchedulerRules, type SchedulerRules } from '../scheduler/scheduler.ts';

export interface RecordRules {
  consensus: Rules;
  scheduling: SchedulerRules;
}

export const defaultRecordRules: RecordRules = {
  consensus: defaultRules,
  scheduling: defaultSchedulerRules,
};
