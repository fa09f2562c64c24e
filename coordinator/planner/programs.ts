/** What the coordinator knows of programs without running them: their ids and the names of their outputs. */
import { evalLoss } from '#kernels/programs/eval-loss/spec.ts';
import { trainOuter, trainOuterUnpacked } from '#kernels/programs/train-outer/spec.ts';
import { policySchema, trainSteps } from '#kernels/programs/train-steps/spec.ts';

const outputsByProgram = new Map<string, readonly string[]>([
  [trainOuter, ['checkpoint', 'packed', 'update']],
  [trainOuterUnpacked, ['checkpoint', 'update']],
  ...policySchema.options.flatMap((policy): [string, readonly string[]][] => [
    [`${trainSteps}+${policy}`, ['losses', 'update']],
    [`${evalLoss}+${policy}`, ['loss']],
  ]),
]);

export const knownPrograms: ReadonlySet<string> = new Set(outputsByProgram.keys());

/** Sorted names of a program's outputs; undefined for a program that the planner never plans. */
export function outputNames(program: string): readonly string[] | undefined {
  return outputsByProgram.get(program);
}
