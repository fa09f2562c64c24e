/**
 * What time does to units: leases and reveals run out, late leases get help, checks that nobody can take are let go, failed units are tried
 * again, downtime is made up for.
 */
import { afterDowntime, mayDuplicate, type Step, tick } from '../consensus/consensus.ts';
import { mix } from '../planner/random.ts';
import { straggleAt } from '../scheduler/deadlines.ts';
import type { Attempted, Change } from '../storage/port.ts';
import { applyStep } from './apply.ts';
import { hintsFor, type Setting } from './contribute.ts';
import { isLookDue, lateLook, looksAtOnce } from './looks.ts';
import type { RecordRules } from './rules.ts';
import type { UnitRow } from './rows.ts';
import { type LoadedUnit, loadUnit, saveUnit } from './units.ts';
import type { Operation, View } from './view.ts';

const dueMax = 256;

export function tickOperation(setting: Setting): Operation<Change[]> {
  return {
    hints: { search: { kind: 'due', before: setting.now, most: dueMax } },
    run(view, offered) {
      let looks = looksAtOnce(view);
      const looksLeft = () => looks-- > 0;
      return offered
        .map((cid, i) => {
          const own = { ...setting, random: mix(setting.random, i) };
          return tickUnit(view, loadUnit(view, cid), own, looksLeft);
        })
        .filter((attempted) => attempted.ok);
    },
  };
}

function tickUnit(view: View, loaded: LoadedUnit, setting: Setting, looksLeft: () => boolean): Attempted {
  const { now, rules } = setting;
  if (isLookDue(loaded, now)) {
    return applyStep(view, loaded, lateLook(view, loaded, setting, looksLeft), { now, rules });
  }
  const hints = hintsFor(view, loaded, setting);
  const step = letChecksGo(view, tick(loaded.state, now, rules.consensus, hints), setting);
  return applyStep(view, loaded, step, { now, rules, unit: lateness(loaded, step, setting) });
}

/** From now on one more lease is offered, where an open one is late. */
function lateness({ rows }: LoadedUnit, step: Step, { now, rules }: Setting): Partial<UnitRow> {
  if (!step.ok || !mayDuplicate(step.unit, rules.consensus)) return {};
  const open = new Set(step.unit.replicas.filter((r) => r.state === 'leased').map((r) => r.assignment));
  const late = straggleAt(
    rows.filter((row) => open.has(row.assignment)),
    rules.scheduling,
  );
  return late !== null && late <= now ? { spare: true } : {};
}

/**
 * Checks that nobody takes. In a network so small that there may be nobody who could, they are let go, since the round waits for them; in a
 * larger one somebody will come.
 */
function letChecksGo(view: View, step: Step, { now, rules }: Setting): Step {
  if (!step.ok) return step;
  const { unit } = step;
  if (unit.phase !== 'accepted' || unit.rechecks === 0) return step;
  if (unit.until === null || unit.until > now) return step;
  const open = unit.replicas.filter((r) => r.state === 'leased' || r.state === 'committed').length;
  const until = now + rules.scheduling.checkMs;
  if (view.climate.online >= rules.trust.smallOnline || open === unit.rechecks) {
    return { ...step, unit: { ...unit, until } };
  }
  const reason = 'nobody has taken the check, and in a network this small nobody may be able to';
  const transitions = [...step.transitions, { type: 'recheck' as const, wanted: 0, reason }];
  return { ...step, unit: { ...unit, rechecks: open, until }, transitions };
}

/** One step of making up for downtime: what is due is not looked at before the grace is over. True when there may be more to do. */
export function resumeOperation(now: number, graceMs: number, rules: RecordRules): Operation<boolean> {
  const notBefore = now + graceMs;
  return {
    hints: { search: { kind: 'due', before: notBefore, most: dueMax } },
    run(view, offered) {
      for (const cid of offered) {
        const loaded = loadUnit(view, cid);
        saveUnit(view, loaded, afterDowntime(loaded.state, now, graceMs), { now, rules, notBefore });
      }
      return offered.length === dueMax;
    },
  };
}
