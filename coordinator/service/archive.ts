/**
 * A block and everything that it links to, depth first, as a CAR (version 1) that is made while it is read: a block is fetched when the reader has taken the
 * one before it, so an archive of any length holds two blocks at a time.
 *
 * A block that is missing below the root ends the stream with an error, as the trustless gateway specification says: the answer has begun by then.
 */
import { CarWriter } from '@ipld/car';
import { CID } from 'multiformats/cid';
import { everyLinkOf } from '#protocol/codec/cbor.ts';
import { type Cid, cborCode, parseCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';

export interface Block {
  cid: Cid;
  bytes: Uint8Array;
}

/** Throws `not_found` for what is not there. */
export type GetBlock = (cid: Cid) => Promise<Uint8Array>;

export interface WalkOptions {
  /** `block`: the root alone. */
  scope: 'block' | 'all';
  /** Whether a block is given each time that it is met. */
  dups: boolean;
}

/** Blocks in the order of a depth-first walk. Throws `too_large` beyond the limits of an archive. */
export async function* walk(root: Block, get: GetBlock, { scope, dups }: WalkOptions): AsyncGenerator<Block> {
  yield root;
  if (scope === 'block') return;
  const seen = new Set<Cid>([root.cid]);
  const open = [linksIn(root)];
  for (let given = 1; open.length > 0;) {
    const cid = open.at(-1)?.shift();
    if (cid === undefined) {
      open.pop();
      continue;
    }
    if (seen.has(cid) && !dups) continue;
    seen.add(cid);
    if (++given > limits.carBlocksMax || open.length > limits.carDepthMax)
      throw new AtollError('too_large', 'The archive has more blocks than are given out at once.');
    const block = { cid, bytes: await get(cid) };
    yield block;
    open.push(linksIn(block));
  }
}

function linksIn({ cid, bytes }: Block): Cid[] {
  return parseCid(cid).code === cborCode ? everyLinkOf(bytes) : [];
}

export interface ArchiveEvents {
  sent(bytes: number): void;
  /** Once, however it ended. */
  ended(): void;
}

/** The archive as a stream that is pulled. It ends with an error when its reader takes nothing for `carIdleMsMax`. */
export function archive(
  root: Cid,
  blocks: AsyncGenerator<Block>,
  { sent, ended }: ArchiveEvents,
  idleMsMax: number = limits.carIdleMsMax,
): ReadableStream<Uint8Array> {
  const parts = encode(root, blocks)[Symbol.asyncIterator]();
  let idle: NodeJS.Timeout | undefined;
  const end = () => {
    clearTimeout(idle);
    ended();
    void blocks.return(undefined).catch(() => undefined);
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        clearTimeout(idle);
        try {
          const next = await parts.next();
          if (next.done) {
            end();
            return controller.close();
          }
          sent(next.value.byteLength);
          controller.enqueue(next.value);
        } catch (error) {
          end();
          return controller.error(error);
        }
        idle = setTimeout(() => {
          end();
          controller.error(new AtollError('unavailable', 'Nobody reads the archive any more.'));
        }, idleMsMax);
        idle.unref();
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}

/** The bytes of a CAR, produced as they are taken. */
async function* encode(root: Cid, blocks: AsyncGenerator<Block>): AsyncGenerator<Uint8Array> {
  const { writer, out } = CarWriter.create([CID.parse(root)]);
  let failure: { error: unknown } | undefined;
  const writing = (async () => {
    try {
      for await (const { cid, bytes } of blocks) await writer.put({ cid: CID.parse(cid), bytes });
    } catch (error) {
      failure = { error };
    }
    await writer.close();
  })();
  yield* out;
  await writing;
  if (failure) throw failure.error;
}
