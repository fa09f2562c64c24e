/**
 * Late looks: replays of units whose acceptance rests on little, asked for once there is somebody whose word is worth more.
 *
 * A vote of strangers is looked at by proven contributors as soon as the network has some; a single on whose contributor nobody has had an eye
 * since is looked at when that contributor has gone. An accepted unit whose `until` has come without an open check is one of these. At any time only
 * a share of the proven is kept busy with them; the others wait.
 */
import { recheck, type Step } from '../consensus/consensus.ts';
import { hasAnchors, levelOf, restsOn } from '../trust/decide.ts';
import type { Setting } from './contribute.ts';
import type { LoadedUnit } from './units.ts';
import type { View } from './view.ts';

/** One look a sweep for so many proven contributors online. */
const provenPerLook = 100;
const waitMsMax = 3_600_000;
/** In a network that never has enough proven contributors, the wait for them ends here. */
const patienceMs = 7 * 24 * 3_600_000;

/** How many looks one sweep may ask for. */
export function looksAtOnce(view: View): number {
  return Math.ceil(view.climate.provenOnline / provenPerLook);
}

/** The unit is due for a late look, unless something has been found out about it since. */
export function isLookDue({ state, row }: LoadedUnit, now: number): boolean {
  return row.phase === 'accepted' && state.rechecks === 0 && state.until !== null && state.until <= now;
}

/** `mayAsk`: this sweep has a look left. The step asks for the look, puts it off, or lets the unit be. */
export function lateLook(view: View, loaded: LoadedUnit, setting: Setting, mayAsk: () => boolean): Step {
  const { state } = loaded;
  const { trust, consensus } = setting.rules;
  const rests = trust.defences.lateLooks ? restsOn(state, consensus) : 'enough';
  const isOver = rests === 'enough' || setting.now - (loaded.row.acceptedAt ?? setting.now) > patienceMs;
  if (isOver || (rests === 'one' && !hasGone(view, loaded))) return after(loaded, null);
  if (!hasAnchors(view.climate, trust) || !mayAsk()) return after(loaded, waitMs(loaded, setting));
  const count = rests === 'strangers' && levelOf(view.climate, trust) > 2 ? 2 : 1;
  const why = rests === 'one' ? 'its contributor has gone unchecked' : 'strangers had decided it';
  const step = recheck(state, count, why);
  const until = setting.now + setting.rules.scheduling.checkMs;
  return step.ok ? { ...step, unit: { ...step.unit, until } } : step;
}

function after({ state }: LoadedUnit, until: number | null): Step {
  return { ok: true, unit: { ...state, until }, transitions: [] };
}

/** Longer the longer it has waited already, and not all at once. */
function waitMs({ row }: LoadedUnit, { now, random, rules }: Setting): number {
  const { checkMs } = rules.scheduling;
  const wait = Math.min(waitMsMax, Math.max(checkMs, (now - (row.acceptedAt ?? now)) / 4));
  return Math.round(now + wait * (0.5 + random / 2 ** 32));
}

/** Nothing of its contributor's is under way, and nothing that it has done alone since it was last confirmed has been looked at. */
function hasGone(view: View, { rows, state }: LoadedUnit): boolean {
  const one = rows.find((row) => row.state === 'agreed' && row.digest === state.digest);
  if (!one || view.openReplicas(one.contributor).length > 0) return false;
  return (view.device(one.contributor, one.device)?.alone ?? 0) > 0;
}
