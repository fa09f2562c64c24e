/**
 * `/ipfs/{cid}`: a trustless gateway (specs.ipfs.tech/http-gateways/trustless-gateway). One block as it is, or an archive (CAR) of it and what it links to.
 *
 * It serves what is published and nothing else: for the world the outputs of a result that is not published do not exist, neither by themselves nor in an archive. A fetch that
 * names its swarm may be told to wait for a neighbour (`OriginLeases`).
 */
import { cborCode, type Cid, parseCid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import { probeCid, type GatewayQuery } from '#protocol/http/gateway.ts';
import { parseSwarm, swarmHeader } from '#protocol/http/swarm.ts';
import { limits } from '#protocol/limits.ts';
import type { OriginLeases } from '../p2p/origin-leases.ts';
import { archive, type GetBlock, walk } from '../service/archive.ts';
import type { Metrics } from '../service/metrics.ts';
import type { AppContext } from './context.ts';

export interface GatewayPorts {
  /** A block that may be served. Throws `not_found`. */
  block: GetBlock;
  leases: OriginLeases;
  metrics: Metrics;
}

const forEver = 'public, max-age=29030400, immutable';
const rawType = 'application/vnd.ipld.raw';
/** What a reader takes of a block at a time. */
const pieceBytes = 64 << 10;
const carType = 'application/vnd.ipld.car';

type Wanted =
  | { format: 'raw' }
  | { format: 'document' }
  | { format: 'car'; scope: 'block' | 'all'; dups: boolean; tag: string };

export function createGateway(ports: GatewayPorts) {
  let archives = 0;
  return async (context: AppContext, cid: Cid, query: GatewayQuery): Promise<Response> => {
    const wanted = wantedOf(context.req.header('accept') ?? '', cid, query);
    const etag = `"${cid}${tagOf(wanted)}"`;
    const headers: Record<string, string> = {
      'cache-control': forEver,
      etag,
      vary: 'Accept',
      'x-ipfs-path': `/ipfs/${cid}`,
      'x-ipfs-roots': cid,
    };
    if (matches(context.req.header('if-none-match'), etag)) return context.body(null, 304, headers);
    const { root, lease } = await readRoot(context, cid, ports);
    // What an archive is called is `.car`; the extension of a document says how to read it.
    const extension = { raw: 'bin', document: 'cbor', car: 'car' }[wanted.format];
    headers['content-disposition'] = `attachment; filename="${query.filename ?? `${cid}.${extension}`}"`;
    headers['content-type'] = typeOf(wanted);
    if (wanted.format !== 'car')
      return wholeOrRange(context, root, wanted.format, headers, ports.metrics, lease);
    headers['accept-ranges'] = 'none';
    if (context.req.method === 'HEAD') return context.body(null, 200, headers);
    if (archives >= limits.carStreamsMax) {
      context.header('Retry-After', '5');
      throw new AtollError('unavailable', 'Too many archives are being sent. Fetch block by block, or wait.');
    }
    archives++;
    let isOpen = true;
    const stream = archive(cid, walk({ cid, bytes: root }, ports.block, wanted), {
      sent: (bytes) => ports.metrics.served('car', bytes),
      ended: () => {
        if (isOpen) archives--;
        isOpen = false;
      },
    });
    return context.body(stream, 200, headers);
  };
}

/** What the holder of a lease does with the block. */
interface LeaseEvents {
  renew(): void;
  release(): void;
}

/** The root, unless a neighbour of the asker is fetching it. Throws `leased` or `not_found`. */
async function readRoot(
  context: AppContext,
  cid: Cid,
  ports: GatewayPorts,
): Promise<{ root: Uint8Array; lease?: LeaseEvents }> {
  if (cid === probeCid) return { root: new Uint8Array() };
  const { leases, metrics } = ports;
  const header = context.req.header(swarmHeader);
  const asker = header === undefined ? undefined : parseSwarm(header);
  if (header !== undefined && !asker)
    throw new AtollError('bad_request', `The header ${swarmHeader} is not of the form NAME;peer=PEER.`);
  if (asker && leases.mustWait(asker, cid)) {
    metrics.originLease('wait');
    context.header('Retry-After', String(Math.ceil(limits.originLeaseRetryMs / 1000)));
    throw new AtollError('leased', 'A neighbour is fetching this block: ask it, or come back.', {
      details: { cid, retryMs: limits.originLeaseRetryMs },
    });
  }
  if (!asker || context.req.method !== 'GET') return { root: await ports.block(cid) };
  // Before the block is read, which takes a while: two that come at once are not both served.
  leases.take(asker, cid);
  const lease = { renew: () => leases.renew(asker, cid), release: () => leases.release(asker, cid) };
  try {
    const root = await ports.block(cid);
    metrics.originLease('granted');
    return { root, lease };
  } catch (error) {
    lease.release();
    throw error;
  }
}

/** `format` counts before Accept. Without either, a block comes as what it is. */
function wantedOf(accept: string, cid: Cid, query: GatewayQuery): Wanted {
  const named = accept.toLowerCase();
  const format =
    query.format ?? (named.includes(carType) ? 'car' : named.includes(rawType) ? 'raw' : undefined);
  if (format === 'car') return carOf(named, query);
  const isDocument = cid !== probeCid && parseCid(cid).code === cborCode;
  return { format: format === undefined && isDocument ? 'document' : 'raw' };
}

function carOf(accept: string, query: GatewayQuery): Wanted {
  const parameter = (name: string) =>
    new RegExp(`${carType.replace(/[.]/g, '\\.')}[^,]*;\\s*${name}=([a-z0-9]+)`).exec(accept)?.[1];
  const version = query['car-version'] ?? (query.format ? undefined : parameter('version')) ?? '1';
  if (version !== '1') throw new AtollError('bad_request', 'Archives here are of version 1 only.');
  const dups = (query['car-dups'] ?? parameter('dups')) === 'y';
  const asked = query['dag-scope'] ?? (query['entity-bytes'] === undefined ? 'all' : 'entity');
  // A document that is no UnixFS is an entity by itself.
  const scope = asked === 'all' ? 'all' : 'block';
  const range = query['entity-bytes'] === undefined ? '' : `.${query['entity-bytes'].replace('*', 'e')}`;
  return { format: 'car', scope, dups, tag: `${asked}.dfs.${dups ? 'y' : 'n'}${range}` };
}

function tagOf(wanted: Wanted): string {
  if (wanted.format === 'document') return '';
  return wanted.format === 'raw' ? '.raw' : `.car.${wanted.tag}`;
}

function typeOf(wanted: Wanted): string {
  if (wanted.format === 'raw') return rawType;
  if (wanted.format === 'document') return 'application/vnd.ipld.dag-cbor';
  return `${carType}; version=1; order=dfs; dups=${wanted.dups ? 'y' : 'n'}`;
}

function matches(header: string | undefined, etag: string): boolean {
  const named = (header ?? '').split(',').map((each) => each.trim().replace(/^W\//, ''));
  return named.includes(etag) || named.includes('*');
}

function wholeOrRange(
  context: AppContext,
  bytes: Uint8Array,
  format: 'raw' | 'document',
  headers: Record<string, string>,
  metrics: Metrics,
  lease?: LeaseEvents,
): Response {
  headers['accept-ranges'] = 'bytes';
  const range = rangeOf(context.req.header('range'), bytes.byteLength);
  if (range === 'outside') {
    context.header('Content-Range', `bytes */${bytes.byteLength}`);
    throw new AtollError('out_of_range', `The block has ${bytes.byteLength} bytes.`);
  }
  const part = range ? bytes.subarray(range.from, range.to + 1) : bytes;
  headers['content-length'] = String(part.byteLength);
  if (range) headers['content-range'] = `bytes ${range.from}-${range.to}/${bytes.byteLength}`;
  if (context.req.method === 'HEAD') return context.body(null, range ? 206 : 200, headers);
  metrics.served(format, part.byteLength);
  const isLong = lease !== undefined && part.byteLength > pieceBytes;
  const body = isLong ? inPieces(part, lease) : (part as Uint8Array<ArrayBuffer>);
  return context.body(body, range ? 206 : 200, headers);
}

/** Piece by piece as the reader takes them, so that a lease is held by who makes headway, and not by who has gone. */
function inPieces(bytes: Uint8Array, lease: LeaseEvents): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream(
    {
      pull(controller) {
        if (at > 0) lease.renew();
        controller.enqueue(bytes.subarray(at, (at += pieceBytes)));
        if (at >= bytes.byteLength) controller.close();
      },
      cancel: () => lease.release(),
    },
    { highWaterMark: 0 },
  );
}

/** One range, both ends within; null for none, and for forms that a server may leave alone (several ranges, other units). */
function rangeOf(header: string | undefined, size: number): { from: number; to: number } | 'outside' | null {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (first === '' && last === '') return null;
  if (first === '') {
    const count = Math.min(size, Number(last));
    return count === 0 ? 'outside' : { from: size - count, to: size - 1 };
  }
  const from = Number(first);
  const to = last === '' ? size - 1 : Math.min(size - 1, Number(last));
  if (last !== '' && Number(last) < from) return null;
  return from >= size ? 'outside' : { from, to };
}
