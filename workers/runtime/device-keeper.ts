/**
 * Opens the device, makes it prove itself, and replaces it once when it is lost.
 *
 * A device that has computed a unit since its last loss has earned another try; one that is lost again before that is given up.
 */
import { AtollError, type Problem, toProblem } from '#protocol/errors.ts';
import { type DeviceInfo } from '#protocol/messages/frames.ts';
import { limits } from '#protocol/limits.ts';
import type { Compute, ComputeDevice, Logger } from './ports.ts';

export interface DeviceEvents {
  /** The stage or the problem changed. */
  changed(): void;
  /** A device is open and has passed the probe. */
  ready(device: ComputeDevice): void;
  /** The device in use went away; a fresh one is being opened, or `failed` follows. */
  lost(error: AtollError): void;
  /** No device can be had. */
  failed(problem: Problem): void;
}

function remedyFor(info: DeviceInfo): string {
  if (info.backend !== 'webgpu' && info.backend !== 'cuda') {
    return 'Close programs that need much memory and start again.';
  }
  return (
    'Another program may have reset the graphics processor, or its driver may have stopped. ' +
    'Close other heavy tabs or programs, update the driver, and start again.'
  );
}

export class DeviceKeeper {
  stage: 'starting' | 'probing' | 'ready' | 'closed' = 'closed';
  /** Why the stage is not `ready`, when a device was lost. */
  problem: Problem | null = null;
  device: ComputeDevice | null = null;
  readonly #compute: Compute;
  readonly #events: DeviceEvents;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  #lossesInARow = 0;

  constructor(compute: Compute, events: DeviceEvents, log: Logger) {
    this.#compute = compute;
    this.#events = events;
    this.#log = log;
  }

  /** Never rejects: `ready` or `failed` tells. */
  async open(): Promise<void> {
    const { signal } = this.#abort;
    this.#enter('starting');
    let device: ComputeDevice | null = null;
    try {
      device = await this.#compute.open(signal);
      signal.throwIfAborted();
      this.device = device;
      const opened = device;
      void device.lost.then((error) => this.lose(opened, error));
      this.#enter('probing');
      await this.#prove(device, signal);
      if (this.device !== device) return; // lost meanwhile: a fresh one is on its way
      this.problem = null;
      this.#enter('ready');
      this.#events.ready(device);
    } catch (error) {
      await this.#openFailed(device, error);
    }
  }

  /** The device went away. Said twice (by the device and by the unit on it) it counts once. */
  lose(device: ComputeDevice, error: AtollError): void {
    if (this.device !== device) return;
    this.#log.warn({ code: error.code }, 'The device was lost.');
    this.device = null;
    void device.close().catch(() => {});
    this.problem = toProblem(
      new AtollError(
        'device_lost',
        `${error.message} ${remedyFor(device.info)}`.slice(0, limits.reasonCharsMax),
      ),
    );
    this.#events.lost(error);
    if (this.#abort.signal.aborted) return;
    if (++this.#lossesInARow > 1) return this.#fail(this.problem);
    void this.open();
  }

  /** The device has computed a unit. */
  proven(): void {
    this.#lossesInARow = 0;
  }

  async close(): Promise<void> {
    this.#abort.abort(new AtollError('cancelled', 'The contributor stops.'));
    this.stage = 'closed';
    const device = this.device;
    this.device = null;
    await device?.close().catch(() => {});
  }

  async #prove(device: ComputeDevice, signal: AbortSignal): Promise<void> {
    const digest = await device.probe(signal);
    signal.throwIfAborted();
    if (digest === device.probeDigest) return;
    throw new AtollError(
      'nonconforming',
      `In the conformance probe, ${device.info.label} gave other bits than the reference, so its results could agree with nobody's. ` +
        'Update the graphics driver or the browser, or contribute with another device.',
    );
  }

  async #openFailed(device: ComputeDevice | null, error: unknown): Promise<void> {
    if (this.#abort.signal.aborted) return void (await device?.close().catch(() => {}));
    if (device && this.device !== device) return; // `lose` has dealt with it
    const problem = toProblem(error);
    if (device && problem.code === 'device_lost') return this.lose(device, error as AtollError);
    this.#log.error({ code: problem.code, err: error }, problem.detail);
    this.device = null;
    await device?.close().catch(() => {});
    this.#fail(problem);
  }

  #fail(problem: Problem): void {
    this.problem = problem;
    this.#enter('closed');
    this.#events.failed(problem);
  }

  #enter(stage: DeviceKeeper['stage']): void {
    this.stage = stage;
    this.#events.changed();
  }
}

/** Within the limits of the hello frame, and without fields that are present but undefined. */
export function tidyInfo(info: DeviceInfo): DeviceInfo {
  const clip = (text: string) => text.slice(0, limits.labelCharsMax);
  const { backend, software, memoryBytes } = info;
  const tidy = { backend, label: clip(info.label), vendor: clip(info.vendor), software };
  return memoryBytes === undefined ? tidy : { ...tidy, memoryBytes };
}
