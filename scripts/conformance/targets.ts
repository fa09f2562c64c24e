/**
 * What the conformance suite can be run on from a command line, and how each is started: each backend in a process of its own, Dawn and Deno on a
 * Vulkan driver, and two browsers. Each is another compiler, another driver or another engine; none is trusted because another one passed.
 */
import { existsSync, globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { HostOptions } from '#kernels/device/conformance-host.ts';
import type { BackendReport, CaseOutcome } from '#kernels/device/conformance-outcome.ts';
import { findInstalled, swiftshaderEnv } from '../find-chromium.ts';
import { runInChromium, runInFirefox } from './browsers.ts';
import { notInstalled, runInDeno, runInNode } from './processes.ts';

export interface RunContext {
  signal: AbortSignal;
  progress: (done: number, total: number, outcome: CaseOutcome) => void;
}

export interface Target {
  id: string;
  title: string;
  /** Part of a run that names none; the others take minutes and are for `--all`. */
  usual: boolean;
  /** Throws `no_device` with the reason where it is not here. */
  run(context: RunContext): Promise<BackendReport>;
}

const threads = Math.max(2, Math.min(8, availableParallelism()));
const gpu: HostOptions = { backend: 'webgpu', allowSoftware: true };

export const targets: readonly Target[] = [
  node('reference', 'TypeScript reference, Node', { backend: 'reference' }),
  node('wasm', 'WebAssembly, one thread, Node', { backend: 'wasm' }),
  node('wasm-threads', `WebAssembly, ${threads} threads, Node`, { backend: 'wasm', threads }),
  target('dawn', 'WebGPU, Dawn for Node, hardware', true, (context) =>
    runInNode({ backend: 'webgpu' }, {}, context),
  ),
  target('dawn-swiftshader', 'WebGPU, Dawn for Node, SwiftShader', true, (context) =>
    runInNode(gpu, swiftshader(), context),
  ),
  target('cuda', 'CUDA, NVIDIA GPU, Node', true, (context) => runInNode({ backend: 'cuda' }, {}, context)),
  target('cuda-emulated', 'CUDA kernels, emulated by g++, Node', false, (context) =>
    runInNode({ backend: 'cuda', emulated: true }, {}, context),
  ),
  target('chromium', 'WebGPU, worker in Chromium, SwiftShader', true, (context) =>
    runInChromium(gpu, context),
  ),
  target('chromium-wasm', 'WebAssembly, 2 threads, worker in Chromium', false, (context) =>
    runInChromium({ backend: 'wasm', threads: 2 }, context),
  ),
  target('dawn-lavapipe', 'WebGPU, Dawn for Node, lavapipe', false, (context) =>
    runInNode(gpu, lavapipe(), context),
  ),
  target('deno-swiftshader', 'WebGPU, Deno (wgpu, naga), SwiftShader', false, (context) =>
    runInDeno(swiftshader(), context),
  ),
  target('deno-lavapipe', 'WebGPU, Deno (wgpu, naga), lavapipe', false, (context) =>
    runInDeno(lavapipe(), context),
  ),
  target('firefox-swiftshader', 'WebGPU, worker in Firefox, SwiftShader', false, (context) =>
    runInFirefox({ ...gpu, shapes: 'hardware' }, swiftshader(), context),
  ),
  target('firefox-lavapipe', 'WebGPU, worker in Firefox, lavapipe', false, (context) =>
    runInFirefox({ ...gpu, shapes: 'hardware' }, lavapipe(), context),
  ),
  target('firefox-wasm', 'WebAssembly, 2 threads, worker in Firefox', false, (context) =>
    runInFirefox({ backend: 'wasm', threads: 2 }, {}, context),
  ),
];

function target(id: string, title: string, usual: boolean, run: Target['run']): Target {
  return { id, title, usual, run };
}

function node(id: string, title: string, options: HostOptions): Target {
  return target(id, title, true, (context) => runInNode(options, {}, context));
}

/** The environment in which Vulkan is SwiftShader. Throws `no_device`. */
function swiftshader(): Record<string, string> {
  const chromium = findInstalled();
  const env = chromium && swiftshaderEnv(chromium);
  if (!env) throw notInstalled('SwiftShader is not here: it comes with Chromium.');
  return { ...env, VK_ICD_FILENAMES: env['VK_DRIVER_FILES'] as string };
}

/** The environment in which Vulkan is Mesa's lavapipe. The loader may be Chromium's: a bare system has none. Throws `no_device`. */
function lavapipe(): Record<string, string> {
  const [driver] = globSync('/usr/share/vulkan/icd.d/lvp_icd*.json');
  if (!driver) {
    throw notInstalled('lavapipe is not here: Debian has it in mesa-vulkan-drivers.');
  }
  const chromium = findInstalled();
  const loader = chromium ? swiftshaderEnv(chromium)?.['LD_LIBRARY_PATH'] : undefined;
  return {
    VK_DRIVER_FILES: driver,
    VK_ICD_FILENAMES: driver,
    ...(loader ? { LD_LIBRARY_PATH: loader } : {}),
  };
}

/** Versions of what the targets stand on, as far as they are packages. */
export function packageVersions(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const names = { webgpu: 'dawn', deno: 'deno' };
  const found = Object.entries(names).flatMap(([name, shown]) => {
    const file = path.join(path.dirname(require.resolve('vitest/package.json')), '..', name, 'package.json');
    return existsSync(file) ? [[shown, (require(file) as { version: string }).version] as const] : [];
  });
  return Object.fromEntries(found);
}
