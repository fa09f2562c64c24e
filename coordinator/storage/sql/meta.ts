/** Facts about the network as a whole, by name. */
import type { Hex } from 'viem';
import type { SqlPorts } from './ports.ts';

/** A fact that is made once: `fresh` unless there is one. Of several processes that ask first, all get the same. */
export async function fixed({ db, write }: SqlPorts, key: 'network' | 'secret', fresh: Hex): Promise<Hex> {
  const query = db.selectFrom('meta').select('value').where('key', '=', key);
  const known = await query.executeTakeFirst();
  if (known) return known.value as Hex;
  await write(async (trx) => {
    const row = { key, value: fresh };
    await trx
      .insertInto('meta')
      .values(row)
      .onConflict((oc) => oc.doNothing())
      .execute();
  });
  return (await query.executeTakeFirstOrThrow()).value as Hex;
}

/** Writes something, to see that anything can be written. */
export async function noteCheck({ write }: SqlPorts, now: number): Promise<void> {
  const value = String(now);
  await write(async (trx) => {
    await trx
      .insertInto('meta')
      .values({ key: 'checked', value })
      .onConflict((oc) => oc.column('key').doUpdateSet({ value }))
      .execute();
  });
}
