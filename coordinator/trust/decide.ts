/**
 * Replication, decided in secret: how many replicas a unit gets, who may take its seats, and when more is looked at than was asked for.
 *
 * Every decision is drawn when the work has been handed out or handed in, from random numbers of the coordinator, so that a contributor
 * cannot know which of its results will be compared with others. `random` is 32 bits.
 */
import type { Plan, ReplicaState, Rules, UnitState } from '../consensus/types.ts';
import { counting, isProven as isProvenReplica, isSplit } from '../consensus/replicas.ts';
import { isProven } from './standing.ts';
import type { Climate, Standing, TrustRules } from './types.ts';

/** 1 good, 2 fair, 3 poor, 4 bad: by the share of liars among those whose results have been judged. */
export type Level = 1 | 2 | 3 | 4;

export function liarShare({ liars, judged }: Climate, rules: TrustRules): number {
  return (liars + rules.priorLiars) / (judged + rules.priorJudged);
}

export function levelOf(climate: Climate, rules: TrustRules): Level {
  if (!rules.defences.climate) return 1;
  const share = liarShare(climate, rules);
  const [fair, poor, bad] = rules.levels;
  if (share < fair) return 1;
  if (share < poor) return 2;
  return share < bad ? 3 : 4;
}

/** There are enough proven contributors to have one in every vote. */
export function hasAnchors(climate: Climate, rules: TrustRules): boolean {
  return rules.defences.anchors && climate.provenOnline >= rules.anchorsMin;
}

/** The probability that a unit of a proven contributor is given to somebody else too. */
export function samplingChance(standing: Standing, climate: Climate, rules: TrustRules): number {
  const { samplingFloor, samplingSlope, levels } = rules;
  const excess = rules.defences.climate ? 3 * (liarShare(climate, rules) - levels[0]) : 0;
  return Math.min(1, Math.max(samplingFloor, samplingSlope / Math.max(1, standing.verified), excess));
}

/** Drawn when the first replica of an attempt is leased, from who takes it and from the climate. */
export function decide(standing: Standing, climate: Climate, random: number, rules: TrustRules): Plan {
  if (standing.referee) return { target: 1, quorum: 1 };
  if (worksAlone(standing, climate, rules)) {
    const checked = random / 2 ** 32 < samplingChance(standing, climate, rules);
    return { target: 1, quorum: checked ? 2 : 1 };
  }
  const size = quorumAsked(climate, rules);
  return { target: size, quorum: size };
}

/** Equal digests that the network, as it is now, asks of a vote: `Hints.quorum`. A unit may have been planned when it was smaller. */
export function quorumAsked(climate: Climate, rules: TrustRules): number {
  if (climate.online < rules.smallOnline) return 2;
  if (!hasAnchors(climate, rules)) return strangersAsked(climate, rules);
  return levelOf(climate, rules) <= 2 ? 2 : 3;
}

/**
 * Equal digests of strangers among themselves, with no proven contributor's: as many as the climate asks for and the network can spare.
 * `Hints.strangers`: a vote whose kept seat found no proven taker goes on to this number, so that waiting does not make it easier to win.
 */
export function strangersAsked(climate: Climate, rules: TrustRules): number {
  if (climate.online < rules.smallOnline) return 2;
  const asked = ([4, 4, 5, 5] as const)[levelOf(climate, rules) - 1] as number;
  return Math.max(2, Math.min(asked, Math.floor(climate.online / rules.onlinePerReplica)));
}

function worksAlone(standing: Standing, climate: Climate, rules: TrustRules): boolean {
  if (!rules.defences.adaptive || climate.online < rules.smallOnline) return false;
  return levelOf(climate, rules) <= 2 && isProven(standing, rules);
}

/**
 * The seats of a vote are given one after another, each once the one before has committed: who holds one cannot wait until a friend holds another
 * before it chooses between a lie and the truth. Only where there are proven contributors enough that units are not scarce.
 */
export function isSerial(climate: Climate, rules: TrustRules): boolean {
  return rules.defences.serial && hasAnchors(climate, rules);
}

/** The next seat of a unit is to be had. Checks are no votes: their seats are all of the proven. */
export function isSeatFree(unit: Seated, climate: Climate, rules: TrustRules): boolean {
  if (unit.phase !== 'gathering' || !isSerial(climate, rules)) return true;
  return unit.replicas.every(({ state }) => state !== 'leased');
}

/** Who may take the next replica of a unit. */
export type Seat = 'any' | 'proven' | 'referee';

/**
 * The last seat of a vote that has no proven contributor yet is kept for one; so are all seats after a split and those of checks. A dispute
 * is a referee's where one is there. `waitedMs` is the time since a replica of the unit was last leased, or was to be back where seats are given
 * one by one: a vote whose kept seat finds no taker for `seatMs` takes anybody. Checks wait: nothing but the end of a round depends on them.
 */
export function seatOf(
  unit: Seated,
  climate: Climate,
  waitedMs: number,
  rules: TrustRules,
  consensus: Rules,
): Seat {
  const strong: Seat = hasAnchors(climate, rules) ? 'proven' : 'any';
  if (unit.phase === 'disputed') return climate.refereesOnline > 0 ? 'referee' : strong;
  if (unit.phase === 'accepted') return strong;
  if (waitedMs > rules.seatMs) return 'any';
  if (climate.refereesOnline > 0 && counting(unit) >= consensus.replicasMax) return 'referee';
  // Nothing is kept: it does not matter which seat this is.
  if (strong === 'any' || unit.target > unit.quorum || isSplit(unit)) return strong;
  let standing = 0;
  for (const replica of unit.replicas) {
    if (!stands(replica.state)) continue;
    if (isProvenReplica(replica, consensus)) return 'any';
    standing += 1;
  }
  return unit.target - standing <= 1 && standing > 0 ? strong : 'any';
}

/** What the next seat of a unit depends on; asked of every unit that is looked at for a lease. */
export type Seated = Pick<UnitState, 'phase' | 'target' | 'quorum' | 'replicas'>;

function stands(state: ReplicaState): boolean {
  return state === 'leased' || state === 'committed' || state === 'revealed';
}

export function mayTake(seat: Seat, standing: Standing, rules: TrustRules): boolean {
  if (standing.outlawed) return false;
  if (standing.referee || seat === 'any') return true;
  return seat === 'proven' && isProven(standing, rules);
}

/**
 * Whether a referee that leaves to others what they can decide takes a seat that anybody may have: where votes differ, in a dispute, where the seat has
 * found no taker for `seatMs`, and everything when only referees are there. Seats that are kept for the proven are its anyway.
 */
export function isDuty(unit: Seated, climate: Climate, waitedMs: number, rules: TrustRules): boolean {
  if (climate.online <= climate.refereesOnline) return true;
  return unit.phase !== 'gathering' || isSplit(unit) || waitedMs > rules.seatMs;
}

/** Whether a vote that turns out unanimous is looked at once more before it counts (`Hints.audit`). */
export function auditUnanimous(
  unit: UnitState,
  climate: Climate,
  random: number,
  rules: TrustRules,
  consensus: Rules,
): boolean {
  if (!rules.defences.audits || climate.online < rules.smallOnline || unit.quorum === 1) return false;
  const proven = unit.replicas.filter((r) => r.weight > 0 && isProvenReplica(r, consensus)).length;
  if (proven >= 2) return false;
  return random / 2 ** 32 < (rules.auditChance * levelOf(climate, rules)) / (proven + 1);
}

/** Replays of a unit that is being accepted: canaries by chance, and one for certain where an outlaw is among those who agreed. */
export function rechecksAfter(
  unit: UnitState,
  byOutlaw: boolean,
  climate: Climate,
  random: number,
  rules: TrustRules,
): number {
  if (byOutlaw && rules.defences.secondLooks) return 1;
  if (!rules.defences.canaries || climate.online < rules.smallOnline) return 0;
  if (unit.replicas.some((r) => r.purpose === 'referee' && r.digest === unit.digest)) return 0;
  return random / 2 ** 32 < rules.canaryChance ? 1 : 0;
}

/** What the accepted digest of a unit rests on: one word alone, several of strangers, or enough. */
export function restsOn(
  unit: Pick<UnitState, 'replicas' | 'digest'>,
  consensus: Rules,
): 'one' | 'strangers' | 'enough' {
  const supporters = unit.replicas.filter(
    (r) => r.digest !== null && r.digest === unit.digest && r.weight > 0,
  );
  if (supporters.some((r) => r.purpose === 'referee')) return 'enough';
  if (!supporters.some((r) => isProvenReplica(r, consensus))) return 'strangers';
  return supporters.length === 1 ? 'one' : 'enough';
}

/** When a unit that is being accepted is looked at once more, if nothing is found out before; null for never. */
export function lateLookMs(
  unit: UnitState,
  climate: Climate,
  random: number,
  rules: TrustRules,
  consensus: Rules,
): number | null {
  if (!rules.defences.lateLooks || climate.online < rules.smallOnline) return null;
  const rests = restsOn(unit, consensus);
  if (rests === 'strangers') return rules.strangersMs;
  return rests === 'one' && random / 2 ** 32 < rules.goneChance ? rules.goneMs : null;
}
