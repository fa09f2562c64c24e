/**
 * Pins a DAG at an IPFS node through Kubo's RPC API: `POST /api/v0/dag/import?pin-roots=true` with an archive (CAR), sent while it is read, so that a checkpoint of any
 * size holds two blocks of memory.
 *
 * Source: https://docs.ipfs.tech/reference/kubo/rpc/ (api-v0-dag-import).
 */
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { archive, type GetBlock, walk } from '../service/archive.ts';

/** A line of the answer is small; an answer that is not is not Kubo's. */
const answerCharsMax = 64 << 10;

export interface KuboOptions {
  /** Such as `http://127.0.0.1:5001`. */
  url: string;
  /** Goes into Authorization, where the API is behind a proxy that asks for it. */
  authorization?: string;
}

/** Throws `unavailable` when the node did not say that it has pinned the root. */
export async function pinAtKubo(
  { url, authorization }: KuboOptions,
  root: Cid,
  get: GetBlock,
  signal: AbortSignal,
): Promise<void> {
  const blocks = walk({ cid: root, bytes: await get(root) }, get, { scope: 'all', dups: false });
  const car = archive(root, blocks, { sent: () => undefined, ended: () => undefined });
  const boundary = `atoll-${randomUUID()}`;
  const address = `${url.replace(/\/+$/, '')}/api/v0/dag/import?pin-roots=true&allow-big-block=false`;
  const response = await fetch(address, {
    method: 'POST',
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      ...(authorization === undefined ? {} : { authorization }),
    },
    body: Readable.from(asForm(car, boundary, root)) as unknown as BodyInit,
    duplex: 'half',
    signal,
  } as RequestInit).catch((cause: unknown) => {
    throw new AtollError('unavailable', 'The IPFS node cannot be reached.', { cause });
  });
  const text = await limitedText(response);
  if (!response.ok)
    throw new AtollError('unavailable', `The IPFS node answered with status ${response.status}.`);
  const pinned = text.split('\n').some((line) => isPinned(line, root));
  if (!pinned) throw new AtollError('unavailable', 'The IPFS node did not pin the checkpoint.');
}

async function* asForm(
  car: AsyncIterable<Uint8Array>,
  boundary: string,
  root: Cid,
): AsyncGenerator<Uint8Array> {
  const text = new TextEncoder();
  const disposition = `form-data; name="file"; filename="${root}.car"`;
  yield text.encode(
    `--${boundary}\r\nContent-Disposition: ${disposition}\r\nContent-Type: application/vnd.ipld.car\r\n\r\n`,
  );
  yield* car;
  yield text.encode(`\r\n--${boundary}--\r\n`);
}

/** `{"Root":{"Cid":{"/":"bafy..."},"PinErrorMsg":""}}`, a line each. */
function isPinned(line: string, root: Cid): boolean {
  try {
    const { Root } = JSON.parse(line) as { Root?: { Cid?: { '/'?: string }; PinErrorMsg?: string } };
    return Root?.Cid?.['/'] === root && !Root.PinErrorMsg;
  } catch {
    return false;
  }
}

async function limitedText(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const part of response.body ?? []) {
    text += decoder.decode(part, { stream: true });
    if (text.length > answerCharsMax) throw new AtollError('unavailable', 'The IPFS node answers at length.');
  }
  return text;
}
