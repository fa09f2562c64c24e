/**
 * A contributor asks for work: a lease it has lost track of, or a replica of a unit that the scheduler picks for it.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { grantLease, mayTryAgain } from '../consensus/consensus.ts';
import { admit, type Candidate, choose, idleRetryMs, leaseMs, windowSize } from '../scheduler/scheduler.ts';
import type { LeaseOutcome, LeaseRequest } from '../storage/port.ts';
import { contributorOf, deviceOf, nowhere } from './accounts.ts';
import type { RecordRules } from './rules.ts';
import type { ContributorRow, ReplicaRow, UnitRow } from './rows.ts';
import { applyStep, loadUnit } from './units.ts';
import type { Operation, View } from './view.ts';

/** Units looked at for one lease. */
const candidatesMax = 16;

export function leaseOperation(request: LeaseRequest, rules: RecordRules): Operation<LeaseOutcome> {
  const { contributor, online, random } = request;
  const owner = request.origin?.owner ?? contributor;
  return {
    hints: {
      contributors: [contributor],
      open: [contributor],
      search: { kind: 'work', contributor, owner, random, window: windowSize(online), most: candidatesMax },
    },
    run: (view, offered) => lease(view, offered, request, rules),
  };
}

function lease(view: View, offered: readonly Cid[], request: LeaseRequest, rules: RecordRules): LeaseOutcome {
  const { contributor, now, programs } = request;
  const open = view.openReplicas(contributor);
  const resumed = resumeLease(view, open, request);
  if (resumed) return resumed;
  const account = contributorOf(view, contributor, now);
  const origin = request.origin ?? { ...nowhere, device: account.device };
  const { speed } = deviceOf(view, contributor, origin.device);
  const applicant = {
    ...{ strikes: account.strikes, lastRejectedAt: account.lastRejectedAt, speed, programs },
    leased: open.filter((replica) => replica.state === 'leased').length,
    unsettled: open.length,
  };
  const admission = admit(applicant, now, rules.scheduling);
  if (admission.type === 'refused')
    return { type: 'none', reason: admission.reason, retryMs: admission.retryMs };
  const candidates = offered.flatMap((cid) => candidateOf(view, cid, account) ?? []);
  const pick = choose(candidates, programs, pickRandom(request.random));
  if (!pick) return none('no unit wants another replica just now', request);
  return grant(view, pick.unit, request, { account, origin, speed }, rules);
}

function none(reason: string, { online }: LeaseRequest): LeaseOutcome {
  return { type: 'none', reason, retryMs: idleRetryMs(online) };
}

interface Applying {
  account: ContributorRow;
  origin: NonNullable<LeaseRequest['origin']>;
  speed: number | null;
}

function grant(
  view: View,
  cid: Cid,
  request: LeaseRequest,
  { account, origin, speed }: Applying,
  rules: RecordRules,
): LeaseOutcome {
  const { assignment, contributor, now } = request;
  const loaded = loadUnit(view, cid);
  const lasts = leaseMs(loaded.row.operations, speed, rules.scheduling);
  const asked = { assignment, contributor, owner: account.owner, weight: 1, deadline: now + lasts };
  const step = grantLease(loaded.state, asked, rules.consensus);
  const { prefix, device, vendor } = origin;
  const fields = { prefix, device, vendor, leasedAt: now };
  const applied = applyStep(view, loaded, step, now, { assignment, fields });
  if (!applied.ok) return none(applied.reason, request);
  const { transitions } = applied;
  const { bytes, program } = loaded.row;
  return { type: 'lease', assignment, unit: cid, program, bytes, leaseMs: lasts, transitions };
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

/** Null for a unit that is not to be had: an offer may be out of date, and nobody gets a second replica. */
function candidateOf(view: View, cid: Cid, { address, owner }: ContributorRow): Candidate | null {
  const row = view.unit(cid);
  if (!row || row.wanted === 0 || row.paused) return null;
  const own = view.replicas(cid).filter((replica) => isOwn(replica, row, address, owner));
  if (own.some((replica) => !mayTryAgain(replica.state))) return null;
  const { program, operations } = row;
  return { unit: cid, program, operations, lostBefore: own.length > 0 };
}

function isOwn(replica: ReplicaRow, unit: UnitRow, address: string, owner: string): boolean {
  return replica.attempt === unit.attempt && (replica.contributor === address || replica.owner === owner);
}

/** The place in the queue took the high bits; the pick takes others. */
function pickRandom(random: number): number {
  return Math.imul(random, 0x9e3779b1) >>> 0;
}
