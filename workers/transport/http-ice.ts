/** `/v1/ice` over fetch: where the relay is and which ICE servers there are. */
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { routes } from '#protocol/http/api.ts';
import { type IceInfo, iceSchema } from '#protocol/http/p2p.ts';
import { limits } from '#protocol/limits.ts';

/** `url` is the coordinator's http(s) address. Throws `unavailable`. */
export function httpIce(url: string): (signal: AbortSignal) => Promise<IceInfo> {
  const address = url.replace(/\/$/, '') + routes.ice;
  return async (signal) => {
    try {
      const response = await fetch(address, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(limits.connectMsMax)]),
        cache: 'no-store',
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      return v.parse(iceSchema, await response.json());
    } catch (cause) {
      throw new AtollError('unavailable', 'The coordinator does not say how to reach others.', { cause });
    }
  };
}
