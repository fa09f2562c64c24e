/**
 * Second implementations: the whole suite and whole programs on another WGSL compiler (wgpu's naga, in Deno and in Firefox), on another Vulkan driver (Mesa's
 * lavapipe), and on another WebAssembly engine (Firefox's). What is not installed is skipped, with the reason; with ATOLL_CONFORMANCE=all it is a failure.
 * A program that is there and finds no adapter is a failure, but for the one pair that is known not to fit.
 *
 * Deno comes with the packages. WebGPU in Firefox takes minutes, most of them waiting, so it is run for ATOLL_CONFORMANCE=all only.
 */
import { expect, it } from 'vitest';
import { targets } from '#scripts/conformance/targets.ts';
import { AtollError } from '#protocol/errors.ts';

const isAll = process.env['ATOLL_CONFORMANCE'] === 'all';
/** Dawn asks for dynamic indexing of uniform arrays, which the lavapipe of Mesa 22 does not offer; newer ones may. */
const mayFindNone = ['dawn-lavapipe'];
const whenThere = ['deno-swiftshader', 'deno-lavapipe', 'dawn-lavapipe', 'firefox-wasm'];
const onDemand = ['firefox-swiftshader', 'firefox-lavapipe'];
const minutes = 12;

const limit = minutes * 60_000;

it.for(whenThere)('%s gives the bits of the reference', { timeout: limit }, examine);

it.for(onDemand)('%s gives them too', { timeout: limit }, (id, context) => {
  if (!isAll) return context.skip('takes minutes: ATOLL_CONFORMANCE=all runs it');
  return examine(id, context);
});

async function examine(id: string, { skip }: { skip: (note: string) => void }): Promise<void> {
  const target = targets.find((each) => each.id === id);
  if (!target) throw new Error(`There is no target ${id}.`);
  const signal = AbortSignal.timeout(minutes * 60_000 - 5_000);
  const report = await target.run({ signal, progress: () => {} }).catch((error: unknown) => {
    if (!(error instanceof AtollError) || error.code !== 'no_device') throw error;
    const isExcused = mayFindNone.includes(id) || (error.details['notInstalled'] === true && !isAll);
    if (isExcused) skip(error.message);
    throw error;
  });
  expect(report.outcomes.length).toBeGreaterThan(500);
  expect(report.outcomes.filter((outcome) => !outcome.same)).toEqual([]);
}
