/**
 * The page's words for states and faults: short, honest, and with the remedy where there is one.
 */
import type { Problem } from '#protocol/errors.ts';
import type { Backend, DeviceInfo } from '#protocol/messages/frames.ts';
import type { Phase } from '#workers/runtime/view.ts';
import type { Fault } from '../state/api.ts';
import type { PageBackend } from '../state/options.ts';
import { count, shortProgramName } from './format.ts';

export type UnitState = 'ready' | 'leased' | 'revealing' | 'split' | 'accepted' | 'failed';

export const unitWords: Record<UnitState, string> = {
  ready: 'Waiting',
  leased: 'Computing',
  revealing: 'Revealing',
  split: 'Split',
  accepted: 'Agreed',
  failed: 'Given up',
};

/** What a unit is called in a list of those of a round; one of another round says so. */
export function unitTitle(
  {
    lane,
    program,
    round,
    initial,
  }: { lane: number | null; program: string; round: number; initial?: boolean | undefined },
  current: number,
): string {
  const name = lane === null ? shortProgramName(program) : `Lane ${lane + 1}`;
  if (initial) return `First ${name.toLowerCase()}`;
  return round === current ? name : `${name}, round ${count(round)}`;
}

export const unitMeanings: Record<UnitState, string> = {
  ready: 'no contributor has it yet',
  leased: 'contributors are at work on it',
  revealing: 'all have committed and show their answers',
  split: 'the answers differ, so more contributors are asked',
  accepted: 'independent answers were equal, bit for bit',
  failed: 'too many attempts without agreement',
};

/** Why a job stands still: the two reasons there are. */
export function stalledWords(status: { units: readonly { state: UnitState }[] }): string {
  return status.units.some((unit) => unit.state === 'failed')
    ? 'This job stands still: a unit was given up after too many answers that did not agree.'
    : 'This job stands still: the coordinator is not working on it.';
}

export const phaseWords: Record<Phase, string> = {
  stopped: 'Stopped',
  starting: 'Starting',
  probing: 'Testing',
  connecting: 'Connecting',
  waiting: 'Waiting',
  fetching: 'Fetching',
  computing: 'Computing',
  paused: 'Paused',
  failed: 'Not running',
};

const backendWords: Record<Backend, string> = {
  reference: 'TypeScript reference',
  wasm: 'WebAssembly',
  webgpu: 'WebGPU',
  cuda: 'CUDA',
};

/** The device's own name and how it is used; a device that has no other name is called once. */
export function deviceWords({ label, backend }: DeviceInfo): string {
  const way = backendWords[backend];
  return label.startsWith(way) ? label : `${label} \u00b7 ${way}`;
}

/** What Start does first, in the words that follow it. */
export function startWords(backend: PageBackend, hasGpu: boolean): string {
  if (backend === 'reference') return 'runs the reference here';
  if (backend === 'wasm' || !hasGpu) return 'takes part of your processor through WebAssembly';
  if (backend === 'webgpu') return 'asks your browser for its graphics processor';
  return 'asks your browser for its graphics processor, or else takes part of the main one through WebAssembly';
}

const remedies: Record<string, string> = {
  no_device:
    'Use a current Chrome, Edge, Firefox or Safari, switch on hardware acceleration in its settings and update the graphics driver. Then try again.',
  nonconforming:
    'This device or its driver rounds differently, so its answers would never agree. A newer browser or graphics driver often helps, and so does reloading a page that is older than the network. Nothing you computed before is lost.',
  device_lost:
    'The browser took the graphics processor away, often after sleep or under memory pressure. Close what else uses it and try again.',
  out_of_memory:
    'The model does not fit next to what is already in graphics memory. Close other tabs and try again.',
  unavailable: 'The coordinator does not answer. Check your connection; trying again is safe.',
  rate_limited: 'Wait a minute, then try again.',
  bad_signature: 'Reload the page: it makes a new key.',
  unknown_program: 'This page is older than the network. Reload it.',
};

/** What to do about a problem: one or two sentences. */
export function remedyFor(problem: Problem): string {
  const known = remedies[problem.code];
  if (known !== undefined) return known;
  return problem.retryable
    ? 'Trying again is safe: nothing that was agreed is lost.'
    : 'Reload the page and try again. If it stays, the text above is what to report.';
}

export interface FaultWords {
  title: string;
  detail: string;
}

export function faultWords(fault: Fault): FaultWords {
  switch (fault.kind) {
    case 'unreachable':
      return {
        title: 'The coordinator does not answer',
        detail: 'The page keeps trying. What is shown may be out of date.',
      };
    case 'refused':
      return { title: fault.problem.title, detail: fault.problem.detail };
    case 'unfit':
      return {
        title: 'The answer is not one this page understands',
        detail: `The page and the coordinator are probably of different versions; reload the page. (${fault.path || 'answer'}: ${fault.message})`,
      };
  }
}
