/** CUDA in Node: NVIDIA's driver and NVRTC, loaded when CUDA is asked for and not before. */
import type { ChooseOptions } from '#kernels/index.ts';
import type { ThreadOptions } from './thread-messages.ts';

/** `warn` is told when compiled kernels cannot be kept. */
export function nodeCuda(
  { gpu, nvrtc, kernelDir }: Pick<ThreadOptions, 'gpu' | 'nvrtc' | 'kernelDir'>,
  warn: (error: unknown) => void,
): NonNullable<ChooseOptions['cuda']> {
  return async (signal) => {
    const { createCudaDevice } = await import('#kernels/device/cuda/create.ts');
    return createCudaDevice({
      warn,
      ...(gpu ? { gpu } : {}),
      ...(nvrtc ? { nvrtc } : {}),
      ...(kernelDir ? { cacheDir: kernelDir } : {}),
      ...(signal ? { signal } : {}),
    });
  };
}
