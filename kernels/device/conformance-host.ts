/**
 * One backend examined from the outside: options go in, messages come out. The same for a page's worker, a Node process and Deno, which differ in how the
 * messages travel and in where adapters come from.
 */
import { codeOf } from '#protocol/errors.ts';
import type { BackendReport, CaseOutcome } from './conformance-outcome.ts';
import { examine } from './conformance-report.ts';
import { type BackendName, createDevice, type CreateDeviceOptions } from './create.ts';
import type { Device } from './device.ts';

export interface HostOptions {
  backend: BackendName;
  /** Threads of a WASM device. */
  threads?: number;
  /** Accept a software WebGPU adapter. */
  allowSoftware?: boolean;
  /** Use the kernels for this kind of adapter on it. */
  shapes?: 'hardware' | 'software';
}

export type HostMessage =
  | { kind: 'progress'; done: number; total: number; outcome: CaseOutcome }
  | { kind: 'report'; report: BackendReport }
  /** There is no such device here, and why. */
  | { kind: 'absent'; reason: string }
  | { kind: 'error'; reason: string };

/** Examines and tells; never rejects. */
export async function hostConformance(
  { backend, ...options }: HostOptions,
  { gpu, cuda }: Pick<CreateDeviceOptions, 'gpu' | 'cuda'>,
  post: (message: HostMessage) => void,
): Promise<void> {
  let device: Device | null = null;
  try {
    device = await createDevice(backend, { ...options, ...(gpu ? { gpu } : {}), ...(cuda ? { cuda } : {}) });
    const startedAt = performance.now();
    const outcomes = await examine(device, {
      progress: (done, total, outcome) => post({ kind: 'progress', done, total, outcome }),
    });
    const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
    post({ kind: 'report', report: { info: device.info, seconds, outcomes } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    post({ kind: codeOf(error) === 'no_device' ? 'absent' : 'error', reason });
  } finally {
    device?.destroy();
  }
}
