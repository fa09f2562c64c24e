/** The network as a whole, as the decisions of the record go by it. */
import type { Hex } from 'viem';
import type { ContributorRow, DeviceRow } from '../../record/rows.ts';
import type { RecordRules } from '../../record/rules.ts';
import type { Climate } from '../../record/view.ts';
import { freeKeyMs, judgedMs } from '../../trust/climate.ts';
import { isProven, standingOf } from '../../trust/standing.ts';
import type { Presence, Suspect } from '../port.ts';
import type { Db } from './schema.ts';

/** Those that have had a result judged, and those with a false one: `isJudged` of trust/climate.ts in SQL. */
export async function judgedAndLiars(db: Db, now: number): Promise<Pick<Climate, 'judged' | 'liars'>> {
  const row = await db
    .selectFrom('contributors')
    .select((eb) => [
      eb.fn.countAll<number>().as('judged'),
      eb.fn.countAll<number>().filterWhere('faults', '>', 0).as('liars'),
    ])
    .where('last_seen_at', '>', now - judgedMs)
    .where((eb) => eb.or([eb('agreed', '>', 0), eb('rejected', '>', 0), eb('outlawed_at', 'is not', null)]))
    .where((eb) =>
      eb.or([eb('outlawed_at', 'is', null), eb('agreed', '>', 0), eb('outlawed_at', '>', now - freeKeyMs)]),
    )
    .executeTakeFirst();
  return { judged: Number(row?.judged ?? 0), liars: Number(row?.liars ?? 0) };
}

/** What a look at those online needs of the database. */
export interface Known {
  contributor(address: Hex): ContributorRow | null;
  device(contributor: Hex, device: string): DeviceRow | null;
}

export function presenceOf(
  online: readonly Presence[],
  known: Known,
  rules: RecordRules,
): Omit<Climate, 'judged' | 'liars'> {
  const contributors = new Set(online.map((each) => each.contributor));
  const isProvenHere = ({ contributor, device }: Presence): boolean => {
    const [row, of] = [known.contributor(contributor), known.device(contributor, device)];
    return row !== null && of !== null && isProven(standingOf(row, of, false), rules.trust);
  };
  const proven = new Set(online.filter(isProvenHere).map((each) => each.contributor));
  return {
    online: contributors.size,
    provenOnline: proven.size,
    refereesOnline: [...contributors].filter((address) => rules.referees.has(address)).length,
    prefixesOnline: new Set(online.map((each) => each.prefix).filter((prefix) => prefix !== '')).size,
  };
}

/** Proven liars whose results are still to be looked at again. */
export async function suspects(db: Db, most: number): Promise<Suspect[]> {
  const rows = await db
    .selectFrom('contributors')
    .select(['address', 'review_from'])
    .where('review_from', 'is not', null)
    .orderBy('address')
    .limit(most)
    .execute();
  return rows.map((row) => ({ contributor: row.address, from: row.review_from as string }));
}
