/**
 * What becomes of a proven liar: its open replicas are taken out of the count, its escrow is void, and everything it has touched is looked at
 * once more. Done in steps of bounded size, whose progress is in the contributor's row, so that a crash loses none of it.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { Hex } from 'viem';
import { expel, recheck, type Step } from '../consensus/consensus.ts';
import { voidEscrow } from '../ledger/postings.ts';
import type { Change } from '../storage/port.ts';
import { applyStep } from './apply.ts';
import { hintsFor, type Setting } from './contribute.ts';
import type { ContributorRow } from './rows.ts';
import { type LoadedUnit, loadUnit, untilChecked } from './units.ts';
import type { Operation, View } from './view.ts';

const touchedMax = 64;
const why = 'its contributor was proven to have lied';

export interface Reviewed {
  changes: Change[];
  /** There is more to look at. */
  more: boolean;
}

/** One step. `from`: where the review stands (`reviewFrom` of the row); a step that another process has done already does nothing. */
export function reviewOperation(contributor: Hex, from: Cid, setting: Setting): Operation<Reviewed> {
  return {
    hints: {
      contributors: [contributor],
      open: [contributor],
      search: { kind: 'touched', contributor, after: from, most: touchedMax },
    },
    run(view, offered) {
      const row = view.contributor(contributor);
      if (!row || row.reviewFrom !== from) return { changes: [], more: row?.reviewFrom != null };
      const { now, rules } = setting;
      const changes: Change[] = [];
      const apply = (loaded: LoadedUnit, step: Step) => {
        const applied = applyStep(view, loaded, untilChecked(step, now, rules), { now, rules });
        if (applied.ok && applied.transitions.length > 0) changes.push(applied);
      };
      if (from === '') {
        const open = new Set(view.openReplicas(contributor).map((replica) => replica.unit));
        for (const cid of open) {
          const loaded = loadUnit(view, cid);
          const hints = hintsFor(view, loaded, setting);
          apply(loaded, expel(loaded.state, contributor, why, now, rules.consensus, hints));
        }
        voidEscrow(view, contributor, why);
      }
      const looks = rules.trust.defences.secondLooks ? offered : [];
      for (const cid of looks) {
        const loaded = loadUnit(view, cid);
        if (isBeyondDoubt(view, loaded, row, setting)) continue;
        apply(loaded, recheck(loaded.state, 1, why, contributor));
      }
      const more = looks.length === touchedMax;
      const reviewFrom = more ? (looks.at(-1) as Cid) : null;
      view.put('contributors', { ...(view.contributor(contributor) as ContributorRow), reviewFrom });
      return { changes, more };
    },
  };
}

/** A referee has found the same, or as many proven ones besides the liar as it takes to prove somebody else false. */
function isBeyondDoubt(view: View, { state }: LoadedUnit, liar: ContributorRow, { rules }: Setting): boolean {
  const { provenWeight, strongProven } = rules.consensus;
  const others = state.replicas.filter(
    (r) => r.digest === state.digest && r.state === 'agreed' && r.owner !== liar.owner,
  );
  if (others.some((r) => r.purpose === 'referee')) return true;
  const sound = others.filter(
    (r) => r.weight >= provenWeight && view.contributor(r.contributor)?.outlawedAt == null,
  );
  return sound.length >= strongProven;
}
