/** What time does to units: leases and reveals run out, failed units are tried again, downtime is made up for. */
import { afterDowntime, tick } from '../consensus/consensus.ts';
import type { Change } from '../storage/port.ts';
import { settle } from './contribute.ts';
import type { RecordRules } from './rules.ts';
import { loadUnit, saveUnit } from './units.ts';
import type { Operation } from './view.ts';

const dueMax = 256;

export function tickOperation(now: number, rules: RecordRules): Operation<Change[]> {
  return {
    hints: { search: { kind: 'due', before: now, most: dueMax } },
    run: (view, offered) =>
      offered
        .map((cid) => {
          const loaded = loadUnit(view, cid);
          return settle(view, loaded, tick(loaded.state, now, rules.consensus), now);
        })
        .filter((attempted) => attempted.ok),
  };
}

/** One step of making up for downtime; true when there may be more to do. */
export function resumeOperation(now: number, graceMs: number): Operation<boolean> {
  return {
    hints: { search: { kind: 'due', before: now + graceMs, most: dueMax } },
    run(view, offered) {
      let moved = false;
      for (const cid of offered) {
        const loaded = loadUnit(view, cid);
        if (loaded.state.phase !== 'gathering' && loaded.state.phase !== 'revealing') continue;
        saveUnit(view, loaded, afterDowntime(loaded.state, now, graceMs), now);
        moved = true;
      }
      return moved && offered.length === dueMax;
    },
  };
}
