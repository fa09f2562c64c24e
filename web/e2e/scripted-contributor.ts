/**
 * Stands in for `state/create-contributor.ts` in the test build: a contributor that shows the view which the test puts into
 * `window.scripted`, and writes down the calls made to it. The page around it is the real one.
 */
import type { ContributorControl, ContributorView } from '#workers/runtime/view.ts';

interface Scripted {
  calls: string[];
  show: (view: ContributorView) => void;
}

declare global {
  interface Window {
    scripted?: Scripted;
    keptBytes?: number;
  }
}

/** As much as the test says, until it is deleted. */
export const keptHere = {
  bytes: async () => window.keptBytes ?? 0,
  remove: async () => void (window.keptBytes = 0),
};

export async function createContributorHere(): Promise<ContributorControl> {
  const scripted: Scripted = { calls: [], show: () => undefined };
  window.scripted = scripted;
  const note = (name: string) => async () => void scripted.calls.push(name);
  return {
    start: note('start'),
    pause: note('pause'),
    resume: note('resume'),
    stop: note('stop'),
    forgetBlocks: note('forgetBlocks'),
    subscribe: async (onView) => {
      scripted.show = onView;
    },
  };
}
