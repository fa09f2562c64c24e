/**
 * Blocks in an S3-compatible store, for coordinators that share no disk: one object each, named by CID, verified when it is read. A PUT of S3
 * is atomic and durable when it is answered, so a block is whole or absent here too.
 */
import { AwsClient } from 'aws4fetch';
import { type Cid, cidOfBlock, parseCid, rawCode, verifyBlock } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { type BlobStore, refreshMs, type StoredBlock } from './blobs.ts';

export interface S3Options {
  /** `https://host[:port]`, without the bucket. */
  endpoint: string;
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** Objects named by one answer to a listing. */
  pageMax?: number;
}

const prefix = 'blocks/';
const retries = 3;
const requestMsMax = 30_000;

/** Throws `bad_config` when the bucket cannot be read and written. */
export async function openS3Blobs(options: S3Options): Promise<BlobStore> {
  const store = new S3(options);
  try {
    await store.list('', 1);
  } catch (cause) {
    throw new AtollError(
      'bad_config',
      `The bucket ${options.bucket} at S3_ENDPOINT cannot be used: ${(cause as Error).message}. Check the S3_* settings.`,
      { cause },
    );
  }
  return {
    has: async (cid) => (await store.head(cid)) !== null,
    async get(cid, signal) {
      const bytes = await store.get(cid, signal);
      await verifyBlock(cid, bytes);
      return bytes;
    },
    async put(bytes, code = rawCode) {
      if (bytes.byteLength > limits.blockBytesMax) {
        throw new AtollError('too_large', `A block has at most ${limits.blockBytesMax} bytes.`);
      }
      const cid = await cidOfBlock(bytes, code);
      const storedAt = await store.head(cid);
      if (storedAt === null || Date.now() - storedAt > refreshMs) await store.put(cid, bytes);
      return cid;
    },
    remove: (cid) => store.remove(cid),
    entries: () => store.entries(),
  };
}

class S3 {
  readonly #client: AwsClient;
  readonly #bucket: string;
  readonly #pageMax: number;

  constructor({ endpoint, bucket, region, accessKeyId, secretAccessKey, pageMax = 1000 }: S3Options) {
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3', retries });
    this.#bucket = `${endpoint.replace(/\/+$/, '')}/${bucket}`;
    this.#pageMax = pageMax;
  }

  /** When the block was stored; null when it is not there. */
  async head(cid: Cid): Promise<number | null> {
    const response = await this.#request('HEAD', this.#urlOf(cid));
    return response.status === 404 ? null : Date.parse(response.headers.get('last-modified') ?? '') || 0;
  }

  async get(cid: Cid, signal?: AbortSignal): Promise<Uint8Array> {
    const response = await this.#request('GET', this.#urlOf(cid), undefined, signal);
    if (response.status === 404) {
      throw new AtollError('not_found', 'The block is not stored here.', { details: { cid } });
    }
    return new Uint8Array(await response.arrayBuffer());
  }

  async put(cid: Cid, bytes: Uint8Array): Promise<void> {
    const response = await this.#request('PUT', this.#urlOf(cid), bytes);
    if (response.status === 404) throw failed('The bucket is gone.');
  }

  async remove(cid: Cid): Promise<void> {
    await this.#request('DELETE', this.#urlOf(cid));
  }

  /** One page of what is stored, after the key `after`. */
  async list(after: string, most = this.#pageMax): Promise<Listing> {
    // The first version of the request, which every store knows and whose pages go on from a key.
    const query = new URLSearchParams({ prefix, 'max-keys': String(most), marker: after });
    const response = await this.#request('GET', `${this.#bucket}?${query}`);
    if (response.status === 404) throw failed('There is no such bucket.');
    return readListing(await response.text());
  }

  async *entries(): AsyncGenerator<StoredBlock> {
    for (let after: string | null = ''; after !== null;) {
      const { blocks, next }: Listing = await this.list(after);
      yield* blocks;
      after = next;
    }
  }

  #urlOf(cid: Cid): string {
    parseCid(cid);
    return `${this.#bucket}/${prefix}${cid.slice(-2)}/${cid}`;
  }

  /** Answers of success and "not there" come back; all others are `storage_failed`. */
  async #request(method: string, url: string, body?: Uint8Array, signal?: AbortSignal): Promise<Response> {
    const timeout = AbortSignal.timeout(requestMsMax);
    const init = { method, signal: signal ? AbortSignal.any([signal, timeout]) : timeout };
    try {
      const response = await this.#client.fetch(url, body ? { ...init, body: body as BodyInit } : init);
      if (response.ok || response.status === 404) return response;
      await response.body?.cancel();
      throw failed(`${method} was answered with ${response.status}.`);
    } catch (cause) {
      signal?.throwIfAborted();
      if (codeOf(cause) === 'storage_failed') throw cause;
      throw failed(`${method} failed: ${(cause as Error).message}`, cause);
    }
  }
}

function failed(why: string, cause?: unknown): AtollError {
  return new AtollError('storage_failed', `The block store did not do as asked. ${why}`, { cause });
}

interface Listing {
  blocks: StoredBlock[];
  /** The last key of this page, when there is another one. */
  next: string | null;
}

/** The few fields of a ListObjects answer that are needed; keys of ours have no character that XML escapes. */
function readListing(xml: string): Listing {
  const contents = [...xml.matchAll(/<Contents>(.*?)<\/Contents>/gs)].map(([, content = '']) => ({
    key: /<Key>([^<]*)</.exec(content)?.[1] ?? '',
    storedAt: Date.parse(/<LastModified>([^<]*)</.exec(content)?.[1] ?? ''),
  }));
  const blocks = contents.flatMap(({ key, storedAt }) => {
    const cid = /\/([a-z2-7]+)$/.exec(key)?.[1];
    return cid !== undefined && Number.isFinite(storedAt) ? [{ cid, storedAt }] : [];
  });
  const isTruncated = /<IsTruncated>true</.test(xml);
  return { blocks, next: isTruncated ? (contents.at(-1)?.key ?? null) : null };
}
