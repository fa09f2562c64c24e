/** Blocks from a coordinator's gateway (`/ipfs/{cid}`) over fetch. The size is limited while reading; the caller checks the hash. */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, errorCodes } from '#protocol/errors.ts';
import { routePath, routes } from '#protocol/http/api.ts';
import { type SwarmAsker, swarmHeader, swarmText } from '#protocol/http/swarm.ts';
import { limits } from '#protocol/limits.ts';
import type { OriginSource } from '../runtime/ports.ts';

/** `url` is the coordinator's http(s) address. */
export function httpBlocks(url: string): OriginSource {
  const base = url.replace(/\/$/, '');
  return {
    async fetch(cid, signal, asker, onPart) {
      const response = await request(base + routePath(routes.block, cid), signal, asker);
      if (!response.ok) {
        await response.body?.cancel().catch(() => {});
        throw refusal(cid, response.status);
      }
      return readLimited(response, onPart);
    },
  };
}

async function request(address: string, signal: AbortSignal, asker?: SwarmAsker): Promise<Response> {
  const named = asker ? { [swarmHeader]: swarmText(asker) } : {};
  try {
    return await fetch(address, { signal, headers: { accept: 'application/vnd.ipld.raw', ...named } });
  } catch (cause) {
    throw asAtollError(cause, signal);
  }
}

async function readLimited(response: Response, onPart?: () => void): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const part of response.body ?? []) {
      size += part.byteLength;
      if (size > limits.blockBytesMax)
        throw new AtollError('too_large', 'A block is larger than blocks may be.');
      parts.push(part);
      onPart?.();
    }
  } catch (cause) {
    throw asAtollError(cause);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

function refusal(cid: Cid, status: number): AtollError {
  const details = { cid, status };
  if (status === 404)
    return new AtollError('not_found', 'Nobody has a block that the unit needs.', { details });
  if (status === errorCodes.leased.status) {
    const retryMs = limits.originLeaseRetryMs;
    return new AtollError('leased', 'A neighbour is fetching this block.', { details: { cid, retryMs } });
  }
  return new AtollError('unavailable', `The gateway answered with status ${status}.`, { details });
}

function asAtollError(cause: unknown, signal?: AbortSignal): AtollError {
  if (cause instanceof AtollError) return cause;
  if (signal?.aborted && signal.reason instanceof AtollError) return signal.reason;
  return new AtollError('unavailable', 'A block could not be downloaded.', { cause });
}
