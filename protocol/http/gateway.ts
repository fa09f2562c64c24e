/**
 * What `/ipfs/{cid}` may be asked besides the CID: the parameters of the trustless gateway specification (specs.ipfs.tech/http-gateways/trustless-gateway), of which
 * a path below the CID is left out, since nothing here is a directory.
 */
import * as v from 'valibot';

/** The empty block by an identity CID, which clients ask for to see whether a gateway is one. */
export const probeCid = 'bafkqaaa';

const bound = '(-?\\d{1,15}|\\*)';

export const gatewayQuery = {
  format: v.optional(v.picklist(['raw', 'car'])),
  'dag-scope': v.optional(v.picklist(['block', 'entity', 'all'])),
  /** Nothing here is one run of bytes over many blocks, so a range asks for the root alone, as the specification says. */
  'entity-bytes': v.optional(
    v.pipe(v.string(), v.regex(new RegExp(`^-?\\d{1,15}:${bound}$`), 'not a range')),
  ),
  'car-version': v.optional(v.literal('1')),
  'car-order': v.optional(v.picklist(['dfs', 'unk'])),
  'car-dups': v.optional(v.picklist(['y', 'n'])),
  filename: v.optional(v.pipe(v.string(), v.regex(/^[\w. -]{1,120}$/, 'not a plain file name'))),
};
const gatewaySchema = v.object(gatewayQuery);
export type GatewayQuery = v.InferOutput<typeof gatewaySchema>;
