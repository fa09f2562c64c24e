/**
 * From consensus to trust: what follows for each contributor from one step of a unit, read off the replicas before and after it.
 */
import type { Replica, Rules, Transition, UnitState } from '../consensus/types.ts';
import { isProven } from '../consensus/replicas.ts';
import type { Climate, Confirmation, Judgement, Proof, TrustEvent, TrustRules } from './types.ts';

/** The judgements of a step, in the order of the unit's replicas. Empty for most steps. */
export function judge(
  before: UnitState,
  step: { unit: UnitState; transitions: readonly Transition[] },
  climate: Climate,
  rules: TrustRules,
  consensus: Rules,
): Judgement[] {
  const { unit: after, transitions } = step;
  if (after.attempt !== before.attempt || before.replicas === after.replicas) return [];
  // Steps keep the order of the replicas.
  const known = (i: number) => before.replicas[i];
  const fresh = after.replicas.filter((r, i) => r.state === 'agreed' && known(i)?.state !== 'agreed');
  const found: Judgement[] = [];
  for (const [i, replica] of after.replicas.entries()) {
    const { assignment, contributor } = replica;
    const twoFaced = transitions.some((t) => t.type === 'equivocated' && t.assignment === assignment);
    const event: TrustEvent | null = twoFaced
      ? { type: 'equivocated' }
      : eventOf(known(i), replica, fresh, after, climate, rules, consensus);
    if (event) found.push({ assignment, contributor, event });
  }
  return found;
}

function eventOf(
  before: Replica | undefined,
  after: Replica,
  fresh: readonly Replica[],
  unit: UnitState,
  climate: Climate,
  rules: TrustRules,
  consensus: Rules,
): TrustEvent | null {
  if (before === undefined) return null;
  if (before.state === after.state) {
    if (after.state !== 'agreed' || fresh.length === 0) return null;
    const by = confirmationOf(after, fresh, climate, rules, consensus);
    return by && { type: 'confirmed', by };
  }
  switch (after.state) {
    case 'agreed': {
      const by = confirmationOf(after, supportersOf(unit), climate, rules, consensus);
      return { type: before.state === 'rejected' ? 'exonerated' : 'agreed', by };
    }
    case 'rejected': {
      // Whoever withheld its reveal has had its strike then.
      if (after.digest === null) return null;
      const proof = proofOf(unit, consensus);
      return { type: before.state === 'agreed' ? 'overturned' : 'rejected', proof };
    }
    case 'withheld':
      return { type: 'withheld' };
    case 'expired':
      return { type: 'lapsed' };
    default:
      return null;
  }
}

function supportersOf(unit: UnitState): Replica[] {
  return unit.replicas.filter((r) => r.digest !== null && r.digest === unit.digest && r.weight > 0);
}

/** Who of the others stands behind a result. One newcomer's word for another's counts only where there is nobody better. */
export function confirmationOf(
  replica: Replica,
  supporters: readonly Replica[],
  climate: Climate,
  rules: TrustRules,
  consensus: Rules,
): Confirmation | null {
  const others = supporters.filter((r) => r.owner !== replica.owner && r.digest === replica.digest);
  if (others.some((r) => r.purpose === 'referee')) return 'referee';
  if (others.some((r) => isProven(r, consensus))) return 'proven';
  if (others.length >= 2) return 'peers';
  const alone = !rules.defences.anchors || climate.provenOnline < rules.anchorsMin;
  return others.length === 1 && alone ? 'peer' : null;
}

/** How surely the unit's digest proves the others false. */
export function proofOf(unit: UnitState, consensus: Rules): Proof {
  const supporters = supportersOf(unit);
  if (supporters.some((r) => r.purpose === 'referee')) return 'strong';
  const proven = supporters.filter((r) => isProven(r, consensus)).length;
  return proven >= consensus.strongProven || supporters.length >= consensus.strongAny ? 'strong' : 'weak';
}
