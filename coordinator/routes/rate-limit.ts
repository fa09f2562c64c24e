/**
 * How often somebody may ask, in fixed windows, per address, per key and per site. In the memory of one process, with a bound on it: several coordinator
 * processes allow several times as much.
 *
 * An address is held for one window, as the key of a counter, and appears nowhere else. An IPv6 network counts as one address, since whoever has one
 * has all of it.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { AtollError } from '#protocol/errors.ts';
import type { Bucket } from '#protocol/http/endpoint.ts';
import type { Clock } from '../service/ports.ts';

export interface Quota {
  /** Requests in one window. */
  quota: number;
  windowMs: number;
}

/** Who is counted: a key instead of its address, and the site whose page asks, besides. */
export type Subject = 'address' | 'key' | 'site';
export type RateLimits = Record<Subject, Record<Bucket, Quota>>;

const minute = 60_000;
const perMinute = (quota: number): Quota => ({ quota, windowMs: minute });

/** A page polls about once a second; a contributor fetches a checkpoint of up to 4,096 blocks a round; many contributors share one address. */
export const defaultRateLimits: RateLimits = {
  address: {
    read: perMinute(6_000),
    block: perMinute(60_000),
    stream: perMinute(600),
    'sign-in': perMinute(30),
    write: perMinute(60),
  },
  key: {
    read: perMinute(12_000),
    block: perMinute(60_000),
    stream: perMinute(600),
    'sign-in': perMinute(30),
    write: perMinute(120),
  },
  site: {
    read: perMinute(60_000),
    block: perMinute(300_000),
    stream: perMinute(6_000),
    'sign-in': perMinute(300),
    write: perMinute(600),
  },
};

export interface Count {
  subject: Subject;
  bucket: Bucket;
  quota: Quota;
  remaining: number;
  /** Seconds until the window ends. */
  resetSeconds: number;
  allowed: boolean;
}

const countersMax = 50_000;

export class RateLimiter {
  readonly #clock: Clock;
  readonly #limits: RateLimits;
  readonly #most: number;
  /** In the order in which their windows were opened. */
  readonly #counters = new Map<string, { used: number; endsAt: number }>();

  constructor(clock: Clock, limits: RateLimits = defaultRateLimits, most = countersMax) {
    this.#clock = clock;
    this.#limits = limits;
    this.#most = most;
  }

  /** Counters held now. */
  get size(): number {
    return this.#counters.size;
  }

  count(subject: Subject, who: string, bucket: Bucket): Count {
    const now = this.#clock.now();
    const quota = this.#limits[subject][bucket];
    const id = `${subject} ${bucket} ${who}`;
    let counter = this.#counters.get(id);
    if (!counter || counter.endsAt <= now) {
      this.#counters.delete(id);
      this.#makeRoom(now);
      this.#counters.set(id, (counter = { used: 0, endsAt: now + quota.windowMs }));
    }
    counter.used++;
    return {
      subject,
      bucket,
      quota,
      remaining: Math.max(0, quota.quota - counter.used),
      resetSeconds: Math.ceil((counter.endsAt - now) / 1000),
      allowed: counter.used <= quota.quota,
    };
  }

  /** The oldest windows go first: what they counted is nearly forgotten anyway. */
  #makeRoom(now: number): void {
    for (const [id, { endsAt }] of this.#counters) {
      if (endsAt > now && this.#counters.size < this.#most) return;
      this.#counters.delete(id);
    }
  }
}

/** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) of what was counted. */
export function rateLimitHeaders(counts: readonly Count[]): Record<string, string> {
  if (counts.length === 0) return {};
  const name = ({ subject, bucket }: Count) => `"${subject}-${bucket}"`;
  const policy = counts.map((c) => `${name(c)};q=${c.quota.quota};w=${c.quota.windowMs / 1000}`);
  const left = counts.map((c) => `${name(c)};r=${c.remaining};t=${c.resetSeconds}`);
  return { 'RateLimit-Policy': policy.join(', '), RateLimit: left.join(', ') };
}

export function tooMany({ resetSeconds, subject }: Count): AtollError {
  const whose = { address: 'this address', key: 'this key', site: 'this site' }[subject];
  const detail = `Too many requests from ${whose}. Try again in ${resetSeconds} s.`;
  return new AtollError('rate_limited', detail, { details: { retryAfterSeconds: resetSeconds } });
}

/** What of an address is counted: IPv4 as it is, of IPv6 its /64. */
export function addressToCount(address: string | undefined): string {
  if (address === undefined) return 'unknown';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  if (!isIPv6(address)) return isIPv4(address) ? address : 'unknown';
  const bare = address.split('%')[0] as string;
  const [head = '', tail] = bare.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail ? tail.split(':') : [];
  const groups = [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back];
  return `${groups
    .slice(0, 4)
    .map((group) => (Number.parseInt(group, 16) || 0).toString(16))
    .join(':')}/64`;
}

/**
 * The address that the outermost trusted proxy saw. Each proxy appends to X-Forwarded-For who asked it, so the last `trusted` entries are true and what
 * stands before them is whatever the client wrote.
 */
export function clientAddress(
  socket: string | undefined,
  forwardedFor: string | undefined,
  trusted: number,
): string | undefined {
  if (trusted === 0) return socket;
  const named = (forwardedFor ?? '').split(',').map((entry) => entry.trim());
  return named.at(-trusted) || socket;
}
