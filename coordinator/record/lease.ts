/**
 * A contributor asks for work: a lease it has lost track of, or a replica of a unit that the scheduler picks for it.
 *
 * How many replicas a unit is to have is drawn here, with its first lease, and told to nobody.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { grantLease, isUndecided, mayDuplicate, mayTryAgain, relax } from '../consensus/consensus.ts';
import { mix } from '../planner/random.ts';
import { leaseMs } from '../scheduler/deadlines.ts';
import {
  admit,
  type Applicant,
  type Candidate,
  choose,
  idleRetryMs,
  isBest,
  windowSize,
} from '../scheduler/scheduler.ts';
import type { Change, LeaseOutcome, LeaseRequest } from '../storage/port.ts';
import { decide, isDuty, isSeatFree, isSerial, mayTake, type Seated, seatOf } from '../trust/decide.ts';
import { standingOf, weightOf } from '../trust/standing.ts';
import type { Standing } from '../trust/types.ts';
import { contributorOf, deviceOf, nowhere, type Origin } from './accounts.ts';
import { applyStep } from './apply.ts';
import type { RecordRules } from './rules.ts';
import type { ContributorRow, ReplicaRow, UnitRow } from './rows.ts';
import { loadUnit, stateOf } from './units.ts';
import type { Operation, View } from './view.ts';

/** Units looked at for one lease. */
const candidatesMax = 16;
/** A referee on duty looks further: most of what is open is not for it. */
const dutyMax = 256;
const dutyWindow = 2 ** 31;
/** The search ends with so many that nothing speaks against: the pick is between them. One would favour the first unit of the queue. */
const goodMax = 3;
const outlawRetryMs = 60_000;
/** Online from so many networks, two replicas of a unit are never from one. */
const prefixesMin = 3;
/** What each random number drawn from the request's is for. */
const draws = { pick: 1, plan: 2 } as const;

export function leaseOperation(request: LeaseRequest, rules: RecordRules): Operation<LeaseOutcome> {
  const { contributor, online, random, duty = false } = request;
  const owner = request.origin?.owner ?? contributor;
  const reach = duty
    ? { window: dutyWindow, most: dutyMax }
    : { window: windowSize(online), most: candidatesMax };
  return {
    hints: {
      contributors: [contributor],
      open: [contributor],
      search: { kind: 'work', contributor, owner, random, ...reach },
    },
    run: (view, offered) => lease(view, offered, request, rules),
  };
}

/** Who asks, as it stands. */
interface Asking {
  view: View;
  request: LeaseRequest;
  rules: RecordRules;
  account: ContributorRow;
  origin: Origin;
  standing: Standing;
  applicant: Applicant;
}

function lease(view: View, offered: readonly Cid[], request: LeaseRequest, rules: RecordRules): LeaseOutcome {
  const open = view.openReplicas(request.contributor);
  const resumed = resumeLease(view, open, request);
  if (resumed) return resumed;
  const asking = whoAsks(view, open, request, rules);
  if (asking.standing.outlawed) {
    return { type: 'none', reason: 'a result of this contributor was proven false', retryMs: outlawRetryMs };
  }
  const admission = admit(asking.applicant, request.now, rules.scheduling);
  if (admission.type === 'refused')
    return { type: 'none', reason: admission.reason, retryMs: admission.retryMs };
  const candidates = candidatesOf(view, offered, asking);
  const pick = choose(candidates, asking.applicant, mix(request.random, draws.pick), rules.scheduling);
  if (pick) return grant(view, pick, asking);
  const change = relaxOne(view, offered, asking);
  const none = noWork('no unit wants another replica just now', request);
  return change ? { ...none, change } : none;
}

function noWork(reason: string, { online }: LeaseRequest) {
  return { type: 'none' as const, reason, retryMs: idleRetryMs(online) };
}

function whoAsks(view: View, open: readonly ReplicaRow[], request: LeaseRequest, rules: RecordRules): Asking {
  const { contributor, now, programs } = request;
  const account = contributorOf(view, contributor, now);
  const origin = request.origin ?? {
    ...nowhere,
    prefix: account.prefix,
    device: account.device,
    vendor: account.vendor,
  };
  const device = deviceOf(view, contributor, origin.device);
  let leased = 0;
  for (const { state } of open) if (state === 'leased') leased += 1;
  const applicant = {
    strikes: account.strikes,
    lastRejectedAt: account.lastRejectedAt,
    programs,
    speed: device.speed,
    memoryBytes: origin.memoryBytes,
    leased,
    unsettled: open.length,
  };
  const standing = standingOf(account, device, rules.referees.has(contributor));
  return { view, request, rules, account, origin, standing, applicant };
}

function grant(view: View, pick: Candidate, asking: Asking): LeaseOutcome {
  const { request, rules, account, origin, standing, applicant } = asking;
  const { assignment, contributor, now } = request;
  const loaded = loadUnit(view, pick.unit);
  const lasts = leaseMs(loaded.row.operations, applicant.speed, rules.scheduling);
  const plan = isUndecided(loaded.state)
    ? { plan: decide(standing, view.climate, mix(request.random, draws.plan), rules.trust) }
    : {};
  const step = grantLease(
    loaded.state,
    {
      ...{ assignment, contributor, owner: account.owner, weight: weightOf(standing, rules.trust) },
      ...{ deadline: now + lasts, referee: standing.referee, duplicate: pick.spare, ...plan },
    },
    rules.consensus,
  );
  const { prefix, device, vendor } = origin;
  const extra = { assignment, fields: { prefix, device, vendor, leasedAt: now } };
  const spare = pick.spare ? { unit: { spare: false } } : {};
  const applied = applyStep(view, loaded, step, { now, rules, extra, ...spare });
  if (!applied.ok) return noWork(applied.reason, request);
  const { transitions } = applied;
  const { bytes, program } = loaded.row;
  return { type: 'lease', assignment, unit: pick.unit, program, bytes, leaseMs: lasts, transitions };
}

/** A lease that the contributor's only connection does not know of is given to it again: its page was reloaded. */
function resumeLease(
  view: View,
  open: readonly ReplicaRow[],
  { held, programs, now }: LeaseRequest,
): LeaseOutcome | null {
  if (!held) return null;
  const lost = open.find(
    (replica) => replica.state === 'leased' && !held.has(replica.assignment) && replica.deadline > now,
  );
  const row = lost && view.unit(lost.unit);
  if (!lost || !row || !programs.has(row.program)) return null;
  const { assignment, unit, deadline } = lost;
  const { bytes, program } = row;
  return { type: 'lease', assignment, unit, program, bytes, leaseMs: deadline - now, transitions: [] };
}

/** Of the offer, which begins at a random place: all that may be had, or the first few that nothing speaks against. */
function candidatesOf(view: View, offered: readonly Cid[], asking: Asking): Candidate[] {
  const { applicant, request } = asking;
  const found: Candidate[] = [];
  const holds = (request.holds?.length ?? 0) > 0;
  let good = 0;
  for (const cid of offered) {
    const candidate = candidateOf(view, cid, asking);
    if (!candidate) continue;
    found.push(candidate);
    if (isBest(candidate, applicant, holds, asking.rules.scheduling) && ++good === goodMax) break;
  }
  return found;
}

/** Null for a unit that is not to be had: an offer may be out of date, a seat kept for others, and no owner gets a second replica. */
function candidateOf(view: View, cid: Cid, asking: Asking): Candidate | null {
  const { request, rules, standing } = asking;
  const row = view.unit(cid);
  if (!row || row.wanted === 0 || row.paused) return null;
  const every = view.replicas(cid);
  // Most of the window: nobody has had a replica, so nothing can stand against this one.
  const { attempt, phase, target, quorum } = row;
  if (every.length === 0) {
    if (!isForDuty({ phase, target, quorum, replicas: [] }, row.plannedAt, asking)) return null;
    return candidate(row, request, { lostBefore: false, alike: false, spare: false });
  }
  const replicas = attempt === 1 ? every : every.filter((replica) => replica.attempt === attempt);
  const met = lookAt(replicas, row.plannedAt, asking);
  if (!met || (met.neighbour && view.climate.prefixesOnline >= prefixesMin)) return null;
  // The rows have all that is asked of a state here; this is looked at for every unit of an offer.
  const unit = { phase, target, quorum, replicas };
  const spare = row.spare && isSpare(row, replicas, rules);
  if (!spare && !isSeatFree(unit, view.climate, rules.trust)) return null;
  const since = isSerial(view.climate, rules.trust) ? met.dueAt : met.since;
  const seat = seatOf(unit, view.climate, request.now - since, rules.trust, rules.consensus);
  if (!mayTake(seat, standing, rules.trust)) return null;
  if (seat === 'any' && !isForDuty(unit, since, asking)) return null;
  return candidate(row, request, {
    lostBefore: met.lostBefore,
    alike: met.neighbour || met.sameVendor,
    spare,
  });
}

/** True of everything for who is no referee, or asks for anything. */
function isForDuty(unit: Seated, since: number, { request, rules, standing, view }: Asking): boolean {
  if (!request.duty || !standing.referee) return true;
  return isDuty(unit, view.climate, request.now - since, rules.trust);
}

interface Met {
  lostBefore: boolean;
  neighbour: boolean;
  sameVendor: boolean;
  /** When a replica was last leased, and when the last was to be back at the latest. */
  since: number;
  dueAt: number;
}

/** What the replicas of a unit have to do with who asks; null when one of them is its own. */
function lookAt(replicas: readonly ReplicaRow[], plannedAt: number, asking: Asking): Met | null {
  const { account, origin, rules } = asking;
  const { ownerOnce } = rules.consensus.defences;
  const met: Met = {
    lostBefore: false,
    neighbour: false,
    sameVendor: false,
    since: plannedAt,
    dueAt: plannedAt,
  };
  for (const replica of replicas) {
    const own = replica.contributor === account.address || (ownerOnce && replica.owner === account.owner);
    const over = mayTryAgain(replica.state);
    if (own && !over) return null;
    if (own) met.lostBefore = true;
    if (replica.leasedAt > met.since) met.since = replica.leasedAt;
    if (replica.deadline > met.dueAt) met.dueAt = replica.deadline;
    if (over) continue;
    if (origin.prefix !== '' && replica.prefix === origin.prefix) met.neighbour = true;
    if (origin.vendor !== '' && replica.vendor === origin.vendor) met.sameVendor = true;
  }
  return met;
}

function candidate(
  { cid, program, operations, memoryBytes, checkpoint }: UnitRow,
  { holds }: LeaseRequest,
  standing: Pick<Candidate, 'lostBefore' | 'alike' | 'spare'>,
): Candidate {
  const atHand = checkpoint !== null && (holds?.includes(checkpoint) ?? false);
  return { unit: cid, program, operations, memoryBytes, atHand, ...standing };
}

/** The unit has all the replicas it wants; this one is offered because another is late. */
function isSpare(row: UnitRow, replicas: readonly ReplicaRow[], { consensus }: RecordRules): boolean {
  return mayDuplicate(stateOf(row, replicas), consensus);
}

/**
 * A network that has become too small for what a unit was planned with makes do with what it has: otherwise those who are left would wait for
 * ever.
 */
function relaxOne(view: View, offered: readonly Cid[], { request, rules }: Asking): Change | null {
  if (view.climate.online >= rules.trust.smallOnline) return null;
  const { replicasMin } = rules.consensus;
  for (const cid of offered) {
    const loaded = loadUnit(view, cid);
    const { phase, quorum } = loaded.state;
    if (phase !== 'gathering' || quorum <= replicasMin) continue;
    const plan = { target: replicasMin, quorum: replicasMin };
    const step = relax(loaded.state, plan, request.now, rules.consensus);
    const applied = applyStep(view, loaded, step, { now: request.now, rules });
    if (applied.ok) return applied;
  }
  return null;
}
