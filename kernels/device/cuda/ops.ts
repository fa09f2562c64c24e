/** Every op's launches on CUDA. An op that is missing here is refused when it is recorded. */
import type { OpArgs } from '../device.ts';
import type { LaunchBuilder } from './launch.ts';

export const launchBuilders: { [K in keyof OpArgs]?: LaunchBuilder<OpArgs[K]> } = {};
