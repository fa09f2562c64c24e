/** What HTTP says of the ledger is enough for a client to compute the chain by itself, and to find any change of it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sha256 } from '@noble/hashes/sha2.js';
import { encodeCanonical } from '#protocol/codec/cbor.ts';
import { type LedgerPage, ledgerPageSchema } from '#protocol/http/ledger.ts';
import { toHex } from '#protocol/messages/hex.ts';
import * as v from 'valibot';
import { firstTip, sealTransfers } from '../ledger/chain.ts';
import type { Transfer } from '../record/rows.ts';
import { LedgerQueries, type LedgerQueryPorts } from './ledger-queries.ts';

const unit = 'bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm';
const transfer = fc.record({
  kind: fc.constantFrom<Transfer['kind']>('earned', 'released', 'bonus'),
  ...{ debit: fc.constant('issued'), credit: fc.string({ maxLength: 9 }), amount: fc.bigInt(1n, 2n ** 90n) },
  ...{ job: fc.constantFrom(unit, null), unit: fc.constantFrom(unit, null), assignment: fc.constant(null) },
  ...{ reason: fc.string(), at: fc.nat() },
});

function queriesOver(transfers: Transfer[]): LedgerQueries {
  const sealed = sealTransfers(firstTip, transfers);
  const ledger = {
    tip: async () => sealed.at(-1) ?? firstTip,
    transfersAfter: async (seq: number, most: number) => sealed.slice(seq, seq + most),
    sharesOf: async () => [],
  };
  return new LedgerQueries({ ledger } as unknown as LedgerQueryPorts);
}

/** As somebody would who has only the answers: nothing of the coordinator's code takes part. */
async function computedTip(ask: (after: number) => Promise<LedgerPage>): Promise<string> {
  let [seq, hash] = [0, `0x${'0'.repeat(64)}`];
  for (;;) {
    const { transfers, tip } = await ask(seq);
    for (const { hash: given, ...columns } of transfers) {
      if (columns.seq !== seq + 1) return `${seq + 1} is missing`;
      hash = toHex(sha256(encodeCanonical({ previous: hash, ...columns })));
      if (hash !== given) return `${columns.seq} is not what was sealed`;
      seq += 1;
    }
    if (seq >= tip.seq) return hash === tip.hash ? 'holds' : 'another tip';
  }
}

test('a client computes the chain from its answers, page by page', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(transfer, { maxLength: 25 }),
      fc.integer({ min: 1, max: 9 }),
      async (rows, most) => {
        const queries = queriesOver(rows.map((row, i) => ({ ...row, seq: i + 1 })));
        const ask = async (after: number) => {
          const sent = JSON.stringify(await queries.ledger(after, most));
          return v.parse(ledgerPageSchema, JSON.parse(sent));
        };
        expect(await computedTip(ask)).toBe('holds');
      },
    ),
    { numRuns: 50 },
  );
});

test('and sees what was changed, dropped or put in', async () => {
  const rows = fc.sample(transfer, { numRuns: 6, seed: 1 }).map((row, i) => ({ ...row, seq: i + 1 }));
  const whole = await queriesOver(rows).ledger(0, 100);
  const at = (after: number, change: (page: LedgerPage) => LedgerPage['transfers']) =>
    computedTip(async () => ({ ...whole, transfers: change(whole).slice(after) }));
  const third = whole.transfers[2] as LedgerPage['transfers'][number];
  expect(await at(0, ({ transfers }) => transfers)).toBe('holds');
  expect(await at(0, ({ transfers }) => transfers.with(2, { ...third, amount: '1' }))).toBe(
    '3 is not what was sealed',
  );
  expect(await at(0, ({ transfers }) => transfers.toSpliced(2, 1))).toBe('3 is missing');
  expect(await at(0, ({ transfers }) => transfers.toSpliced(2, 0, third))).toBe('4 is missing');
});
