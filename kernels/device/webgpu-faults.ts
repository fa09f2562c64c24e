/**
 * What goes wrong on a GPU is told late and elsewhere: this collects it, so that the next call that waits throws it.
 *
 * Work that can fail is done inside `guard` (WebGPU error scopes); errors outside any scope and the loss of the device arrive as events.
 * The first fault stays: a device that failed once gives no more results.
 */
import { AtollError } from '#protocol/errors.ts';

export class Faults {
  private readonly device: GPUDevice;
  private readonly pending = new Set<Promise<void>>();
  private first: AtollError | null = null;
  /** Resolves when the device goes away, but not when `destroyed` was called first. */
  readonly lost: Promise<AtollError>;
  private closed = false;

  constructor(device: GPUDevice) {
    this.device = device;
    device.addEventListener('uncapturederror', (event) => this.fail(toAtollError(event.error)));
    this.lost = device.lost.then((info) => {
      const error = new AtollError('device_lost', lostMessage(info), { details: { reason: info.reason } });
      this.fail(error);
      return this.closed ? new Promise<never>(() => {}) : error;
    });
  }

  fail(error: AtollError): void {
    this.first ??= error;
  }

  /** Marks the loss that follows as wanted. */
  close(): void {
    this.closed = true;
    this.fail(new AtollError('device_lost', 'The device was destroyed.'));
  }

  /** Runs `work` inside error scopes; what they catch shows up in `check` once `settle` has been awaited. */
  guard<T>(work: () => T): T {
    this.device.pushErrorScope('out-of-memory');
    this.device.pushErrorScope('internal');
    this.device.pushErrorScope('validation');
    try {
      return work();
    } finally {
      for (let i = 0; i < 3; i++) this.watch(this.device.popErrorScope());
    }
  }

  private watch(scope: Promise<GPUError | null>): void {
    // A scope cannot be popped on a lost device; `lost` says so already.
    const watched = scope
      .then(
        (error) => error && this.fail(toAtollError(error)),
        () => {},
      )
      .then(() => void this.pending.delete(watched));
    this.pending.add(watched);
  }

  /** Waits for the scopes of everything done so far, then throws the first fault if there is one. */
  async settle(): Promise<void> {
    await Promise.all(this.pending);
    this.check();
  }

  check(): void {
    if (this.first) throw this.first;
  }
}

function lostMessage(info: GPUDeviceLostInfo): string {
  return `The GPU device was lost${info.message ? ` (${info.message.slice(0, 200)})` : ''}. Start a new one.`;
}

/** Told apart by name: the classes are not globals in Node. */
function toAtollError(error: GPUError): AtollError {
  const message = error.message.slice(0, 1000);
  if (error.constructor.name === 'GPUOutOfMemoryError') {
    return new AtollError('out_of_memory', `The GPU has not enough memory. ${message}`.trim());
  }
  return new AtollError('internal', `The GPU refused a command: ${message}`);
}
