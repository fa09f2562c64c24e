/** What the service is given instead of reaching for it: time, randomness, a log. */
import { randomBytes } from 'node:crypto';
import { toHex } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export interface Random {
  bytes32(): Hex;
  u32(): number;
}

export interface Logger {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Drawn from the system in pieces of this size: a draw of its own for every number costs more than all else about it. */
const poolBytes = 4_096;
let pool = Buffer.alloc(0);

/** Bytes that nobody has had. */
function draw(count: number): Buffer {
  if (pool.length < count) pool = randomBytes(poolBytes);
  const drawn = Buffer.from(pool.subarray(0, count));
  pool.fill(0, 0, count);
  pool = pool.subarray(count);
  return drawn;
}

export const systemRandom: Random = {
  bytes32: () => toHex(draw(32)),
  u32: () => draw(4).readUInt32LE(),
};

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Waits that a test shortens; all in milliseconds. */
export interface Timing {
  helloMs: number;
  pingMs: number;
  /** How long a contributor may be away before its uncommitted leases go back. */
  awayMs: number;
  /** Nothing heard from a holder for this long: another one is asked. */
  blockMs: number;
  /** How long the blocks of an agreed unit are looked for before the unit is issued again. */
  pullMs: number;
  /** Between looks for leases and reveals that ran out. */
  sweepMs: number;
  /** At least this long to come back after the coordinator was down. */
  downtimeGraceMs: number;
  /** Between looks for what other processes have done. */
  resyncMs: number;
  eventMs: number;
  heartbeatMs: number;
  /** How long a planned stop waits for answers that are under way. */
  drainMs: number;
}

export const defaultTiming: Timing = {
  helloMs: 15_000,
  pingMs: 15_000,
  awayMs: 15_000,
  blockMs: 20_000,
  pullMs: 60_000,
  sweepMs: 500,
  downtimeGraceMs: 30_000,
  resyncMs: 3_000,
  eventMs: 100,
  heartbeatMs: 15_000,
  drainMs: 5_000,
};
