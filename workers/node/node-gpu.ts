/**
 * WebGPU in Node: Dawn, from the npm package `webgpu`. Which driver it finds is the system's business (`VK_DRIVER_FILES` for Vulkan).
 */
import { AtollError } from '#protocol/errors.ts';

/** Dawn lives as long as the object that `create` returned. */
let kept: GPU | null = null;

/** Throws `no_device` when Dawn cannot be loaded here. */
export async function nodeGpu(): Promise<GPU> {
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    return (kept ??= create([]));
  } catch (cause) {
    throw new AtollError(
      'no_device',
      'WebGPU cannot be loaded in this Node: reinstall the package `webgpu`, or use `--backend wasm`.',
      { cause },
    );
  }
}
