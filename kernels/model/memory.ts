/** What training or evaluating a model takes on a device, known before anything is allocated. */
import type { ModelConfig, Policy } from '#protocol/messages/model.ts';
import type { Device, MemoryNeed } from '../device/device.ts';
import { Gpt, type GptOptions, type Optimiser } from './gpt.ts';

export interface MemoryQuestion extends GptOptions {
  model: ModelConfig;
  batch: number;
  policy: Policy;
  /** Absent: only the forward pass. */
  optimiser?: Optimiser;
}

/**
 * Builds the model and records its step without allocating. `null` on a device that cannot say. Throws what building would throw: `out_of_memory` when a
 * tensor does not fit a buffer of this device, `bad_input` when shapes do not.
 */
export function memoryOf(device: Device, question: MemoryQuestion): MemoryNeed | null {
  const { model, batch, policy, optimiser, ...options } = question;
  return (
    device.rehearse?.((dry) => {
      const gpt = new Gpt(dry, model, batch, policy, optimiser !== undefined, options);
      if (optimiser) gpt.recordStep(optimiser);
      else gpt.recordForward();
    }) ?? null
  );
}
