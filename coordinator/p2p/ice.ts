/**
 * ICE servers for one client. TURN credentials are coturn's REST scheme: the user name is `expiry:user`, the password its HMAC-SHA1 under a secret
 * that only TURN server and coordinator know, so nothing has to be registered anywhere.
 *
 * `user` is the same for one client address, as a keyed hash that tells nobody which, so that coturn's `user-quota` bounds each client.
 */
import { createHmac } from 'node:crypto';
import type { IceServer } from '#protocol/http/p2p.ts';
import { limits } from '#protocol/limits.ts';

export interface IceOptions {
  /** Such as `turn:turn.example:3478`; with the secret of coturn's `static-auth-secret`. */
  turn?: { urls: readonly string[]; secret: string };
  /** Such as `stun:stun.example:3478`. */
  stunUrls?: readonly string[];
}

export interface IceServers {
  iceServers: IceServer[];
  canRelay: boolean;
  expires: number | null;
}

/** `now` in milliseconds since 1970. */
export function iceServersFor(options: IceOptions, client: string, now: number): IceServers {
  const { turn, stunUrls = [] } = options;
  const stun: IceServer[] = stunUrls.length > 0 ? [{ urls: [...stunUrls] }] : [];
  if (!turn) return { iceServers: stun, canRelay: false, expires: null };
  const expires = now + limits.turnCredentialMs;
  const user = createHmac('sha256', turn.secret).update(`atoll/turn/${client}`).digest('hex').slice(0, 16);
  const username = `${Math.floor(expires / 1000)}:${user}`;
  const credential = createHmac('sha1', turn.secret).update(username).digest('base64');
  return {
    iceServers: [...stun, { urls: [...turn.urls], username, credential }],
    canRelay: true,
    expires,
  };
}
