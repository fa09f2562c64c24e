/**
 * What a program is: a pure function of content-addressed inputs. The registry (`registry.ts`) lists every one this build knows.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import type { Policy } from '#protocol/messages/job.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import type { Device } from '../device/device.ts';

export interface ProgramContext {
  device: Device;
  unit: Workunit;
  /** The policy named by the program id; `i15` where the id names none. */
  policy: Policy;
  /** Inputs are read from here and outputs are put here. */
  blocks: BlockStore;
  signal?: AbortSignal;
  /** Called between steps: `done` of `total`. */
  progress?: (done: number, total: number) => void;
}

export interface Program {
  /** `name@version`. */
  id: string;
  /** Whether the id carries a GEMM policy (`name@version+policy`). */
  hasPolicy: boolean;
  /** Throws `bad_input` on parameters or inputs it cannot use. Returns the outputs' CIDs, already put into `blocks`. */
  run(context: ProgramContext): Promise<Record<string, Cid>>;
}
