/**
 * What a program is: a pure function of content-addressed inputs. The registry (`registry.ts`) lists every one this build knows.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { decodeTokens, type ModelConfig, type Policy, tokenBytes } from '#protocol/messages/model.ts';
import type { Workunit } from '#protocol/messages/workunit.ts';
import type { Device } from '../device/device.ts';

export interface ProgramContext {
  /** A device of its own for this run: the registry frees its memory afterwards. */
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
  /** Throws `bad_input` or `bad_request` on parameters or inputs it cannot use. Returns the outputs' CIDs, already put into `blocks`. */
  run(context: ProgramContext): Promise<Record<string, Cid>>;
}

/** Throws `bad_input` when the unit lacks the input. */
export function inputCid(unit: Workunit, name: string): Cid {
  const cid = unit.inputs[name];
  if (cid === undefined) throw new AtollError('bad_input', `The unit has no input "${name}".`);
  return cid;
}

/** The `tokens` input: `count` windows of T + 1 tokens. Throws `bad_input` on another size or a token beyond V. */
export async function readTokens(
  context: ProgramContext,
  count: number,
  model: ModelConfig,
): Promise<Uint32Array> {
  const bytes = await context.blocks.get(inputCid(context.unit, 'tokens'), context.signal);
  const expected = count * (model.T + 1) * tokenBytes(model);
  if (bytes.length !== expected) {
    throw new AtollError('bad_input', `Expected ${expected} bytes of tokens, got ${bytes.length}.`);
  }
  const tokens = decodeTokens(bytes, model);
  if (tokens.some((token) => token >= model.V)) {
    throw new AtollError('bad_input', `A token lies beyond the vocabulary of ${model.V}.`);
  }
  return tokens;
}

/** Throws `cancelled` when the signal has been aborted. */
export function checkCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new AtollError('cancelled', 'The computation was cancelled.', { cause: signal.reason });
  }
}
