/** What a contributor needs to find others: the relay that carries signalling, and the ICE servers, with credentials that end soon. */
import * as v from 'valibot';
import { peerIdSchema } from '../p2p/record.ts';

/** Where the relay's WebSocket is on the coordinator's port. libp2p's addresses have no path, so its own clients ask for `/`; both are the relay. */
export const relayPath = '/p2p';

const urls = (pattern: RegExp) => v.pipe(v.string(), v.maxLength(300), v.regex(pattern));

export const iceServerSchema = v.object({
  urls: v.array(urls(/^(stun|turns?):[^\s]+$/)),
  username: v.optional(v.string()),
  credential: v.optional(v.string()),
});
export type IceServer = v.InferOutput<typeof iceServerSchema>;

export const iceSchema = v.object({
  /** The relay's peer id; null where contributors do not talk to each other. */
  relay: v.nullable(peerIdSchema),
  /** None at all unless the operator named some: no public server is ever told of a contributor. */
  iceServers: v.array(iceServerSchema),
  /** Whether one of them relays, so that contributors can keep their addresses to themselves. */
  canRelay: v.boolean(),
  /** When credentials end, in milliseconds since 1970; null without any. */
  expires: v.nullable(v.number()),
});
export type IceInfo = v.InferOutput<typeof iceSchema>;
