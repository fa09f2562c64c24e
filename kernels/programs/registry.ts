/** Every program this build can run, and how a workunit becomes a result. A new program is one folder and one line here. */
import { AtollError } from '#protocol/errors.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { type Policy, policySchema } from '#protocol/messages/job.ts';
import { type Result, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import type { Device } from '../device/device.ts';
import { evalLossProgram } from './eval-loss/run.ts';
import type { Program } from './program.ts';
import { trainApplyProgram } from './train-apply/run.ts';
import { trainOuterProgram, trainOuterUnpackedProgram } from './train-outer/run.ts';
import { trainStepsProgram } from './train-steps/run.ts';

const programs: readonly Program[] = [
  trainStepsProgram,
  trainOuterProgram,
  trainOuterUnpackedProgram,
  trainApplyProgram,
  evalLossProgram,
];

/** Full ids, one for each policy where a program has them. */
export function programIds(): string[] {
  return programs.flatMap(({ id, hasPolicy }) =>
    hasPolicy ? policySchema.options.map((policy) => `${id}+${policy}`) : [id],
  );
}

export interface ExecuteOptions {
  device: Device;
  blocks: BlockStore;
  signal?: AbortSignal;
  progress?: (done: number, total: number) => void;
}

/**
 * Runs a workunit on a device. The result is the same bits on every device.
 * Throws `unknown_program`; `bad_input` and `bad_request` on a unit that no device could run; `cancelled`, `device_lost`, `out_of_memory`.
 */
export async function executeWorkunit(unit: Workunit, options: ExecuteOptions): Promise<Result> {
  const [id, policy = 'i15'] = unit.program.split('+');
  const program = programs.find((candidate) => candidate.id === id);
  if (!program || !programIds().includes(unit.program)) {
    throw new AtollError('unknown_program', `This build does not know ${unit.program}.`);
  }
  const device = options.device.scope();
  try {
    const outputs = await program.run({ ...options, device, unit, policy: policy as Policy });
    return { v: 1, unit: workunitId(unit), outputs };
  } finally {
    device.destroy();
  }
}
