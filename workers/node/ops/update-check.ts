/**
 * Says, once a day at most, that the coordinator runs a newer version than this node. It only tells: nothing is downloaded, and nothing waits for it.
 *
 * The coordinator is asked because it is known already; a package registry would learn of every node, and could name a version that this network does not run.
 */
import * as v from 'valibot';
import type { Clock, Logger, RandomBytes } from '../../runtime/ports.ts';
import { fullJitterMs } from '../../runtime/timing.ts';

export interface UpdatePorts {
  /** The coordinator's http(s) address. */
  url: string;
  /** Of this program. */
  version: string;
  clock: Clock;
  randomBytes: RandomBytes;
  log: Logger;
  fetch: (url: string, init: RequestInit) => Promise<Response>;
}

const firstMsMax = 10 * 60_000;
const dayMs = 24 * 60 * 60_000;
const answerMsMax = 10_000;
const bodyBytesMax = 64 << 10;

const versionPattern = /^\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,40})?$/;
const answerSchema = v.object({ version: v.pipe(v.string(), v.regex(versionPattern)) });

/** Looks at some moment of the first minutes, then daily. Returns what ends it. */
export function watchForUpdates(ports: UpdatePorts): () => void {
  const { clock, log, randomBytes, version } = ports;
  const abort = new AbortController();
  let told = '';
  let cancel = () => {};
  const later = (ms: number) => {
    cancel = clock.after(ms, () => {
      later(dayMs / 2 + fullJitterMs(0, dayMs, dayMs, randomBytes));
      void look();
    });
  };
  const look = async () => {
    const theirs = await announcedVersion(ports, abort.signal);
    if (theirs === null || theirs === told || !isNewer(theirs, version)) return;
    told = theirs;
    log.warn(
      { version, newer: theirs },
      `The coordinator runs version ${theirs}, this node ${version}. Update it when it suits you.`,
    );
  };
  later(fullJitterMs(0, firstMsMax, firstMsMax, randomBytes));
  return () => {
    abort.abort();
    cancel();
  };
}

/** Null where it cannot be had: an update is not worth a warning that it could not be looked for. */
export async function announcedVersion(
  { url, fetch }: Pick<UpdatePorts, 'url' | 'fetch'>,
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const response = await fetch(new URL('/v1/network', url).href, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerMsMax)]),
      redirect: 'error',
      headers: { accept: 'application/json' },
    });
    if (!response.ok) return null;
    return v.parse(answerSchema, JSON.parse(await limitedText(response))).version;
  } catch {
    return null;
  }
}

async function limitedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += (part as Uint8Array).length;
    if (size > bodyBytesMax) throw new Error('too large');
    parts.push(part as Uint8Array);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** By the rules of semantic versioning, except that all pre-releases of one version count the same. */
export function isNewer(theirs: string, ours: string): boolean {
  const [a, b] = [theirs, ours].map((text) => {
    const [numbers = '', pre] = text.split('-', 2);
    return [...numbers.split('.').map(Number), pre === undefined ? 1 : 0];
  }) as [number[], number[]];
  const at = a.findIndex((value, i) => value !== b[i]);
  return at >= 0 && (a[at] as number) > (b[at] as number);
}
