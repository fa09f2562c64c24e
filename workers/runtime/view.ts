/**
 * What a person is shown of a contributor: one plain object, sent whole on every change, through comlink in the page and to the log in Node.
 */
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import type { Problem } from '#protocol/errors.ts';
import type { KeptBlocks, SwarmView } from './ports.ts';

export type Phase =
  | 'stopped'
  | 'starting' // requesting the device
  | 'probing' // conformance probe
  | 'connecting'
  | 'waiting' // connected, no work just now
  | 'fetching'
  | 'computing'
  | 'paused'
  | 'failed'; // `problem` says why and what to do

export interface ContributorView {
  phase: Phase;
  /** One sentence, always present: what is happening, or why nothing is. */
  reason: string;
  problem: Problem | null;
  /** Something a person should know that stops nothing, such as a key that cannot be kept. */
  notice?: string;
  contributor: string | null;
  device: DeviceInfo | null;
  /** What holds at this moment, whatever the phase; not there while nothing runs. */
  checks?: { conforming: boolean; connected: boolean };
  /** How often the coordinator has said welcome. */
  connections?: number;
  /** What computes and why nothing better does, in full sentences. */
  why?: string;
  /** The unit in hand. */
  unit: { program: string; done: number; total: number } | null;
  /** Units computed and committed whose verdict is not in yet. */
  pending: number;
  agreed: number;
  rejected: number;
  credit: number;
  bytesDown: number;
  bytesUp: number;
  /** Of `bytesDown`, blocks: what was downloaded, wherever from. */
  blockBytesDown?: number;
  /** What is kept of blocks beyond this session, and how much of it was read in place of a download. */
  kept?: KeptBlocks;
  /** The exchange of blocks with other contributors; not there where this build takes no part. */
  swarm?: SwarmView;
}

/** What the page holds in its hand (through comlink) and the headless shell too. */
export interface ContributorControl {
  start(): Promise<void>;
  /** Gives the lease in hand back and keeps the connection. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Gives the lease back, disconnects, releases the device. */
  stop(): Promise<void>;
  subscribe(onView: (view: ContributorView) => void): Promise<void>;
  /** Deletes every block that is kept beyond this session. Throws `storage_failed`. */
  forgetBlocks(): Promise<void>;
}
