/** The part of the route table that is about the ledger, rewards, shares and lineage. */
import * as v from 'valibot';
import { cidSchema } from '../codec/cid.ts';
import { anyAddressSchema } from './accounts.ts';
import { rewardsRootSchema, routes } from './api.ts';
import { endpoint, pageLimitSchema, pageQuery, nextSchema } from './endpoint.ts';
import { ledgerPageSchema, lineageSchema, rewardProofSchema, shareSchema } from './ledger.ts';

const open = { auth: 'none', bucket: 'read', method: 'GET', tag: 'records' } as const;
const json = <S extends v.GenericSchema>(schema: S) => ({
  type: 'json' as const,
  schema,
  status: 200 as const,
});
const number = (otherwise: string, max: number) =>
  v.optional(
    v.pipe(v.string(), v.regex(/^\d{1,15}$/, 'expected a number'), v.transform(Number), v.maxValue(max)),
    otherwise,
  );

export const sharesPageSchema = v.object({ shares: v.array(shareSchema), next: nextSchema });

export const ledgerEndpoints = {
  ledger: endpoint({
    ...open,
    path: routes.ledger,
    summary: 'The ledger: sealed transfers in the order of their chain',
    description:
      'The hash of a transfer is sha256 over the canonical DAG-CBOR of `previous` (the hash before; 32 zero bytes for the first) and every other column as it stands here.',
    query: v.object({ after: number('0', Number.MAX_SAFE_INTEGER), limit: pageLimitSchema }),
    answer: json(ledgerPageSchema),
    errors: [],
  }),
  rewards: endpoint({
    ...open,
    path: routes.rewards,
    summary: 'The root over everybody’s rewards when the last round closed',
    answer: json(v.object({ last: v.nullable(rewardsRootSchema) })),
    errors: [],
  }),
  reward: endpoint({
    ...open,
    path: routes.reward,
    summary: 'What a contributor has been posted in all, with its proof against the last root',
    description:
      'A leaf is keccak256(keccak256(keccak256("atoll/reward/1") | address | amount)), each as 32 bytes; pairs are hashed in sorted order.',
    params: v.object({ address: anyAddressSchema }),
    answer: json(rewardProofSchema),
    errors: ['not_found'],
  }),
  shares: endpoint({
    ...open,
    path: routes.shares,
    summary: 'What of a job’s model is whose, by address',
    description: 'Credit earned by the job, less what of it was taken back. A proven liar has no share.',
    params: v.object({ id: cidSchema }),
    query: v.object(pageQuery),
    answer: json(sharesPageSchema),
    errors: [],
  }),
  lineage: endpoint({
    ...open,
    path: routes.lineage,
    summary: 'Where a checkpoint comes from: rounds, units, data and contributors, back to the beginning',
    description:
      'Newest round first, `depth` rounds to a page; `next` is the checkpoint to go on from. Every unit and result is a document at /ipfs/{cid}.',
    params: v.object({ checkpoint: cidSchema }),
    query: v.object({ depth: number('16', 1_000) }),
    answer: json(lineageSchema),
    errors: ['not_found'],
  }),
} as const;
