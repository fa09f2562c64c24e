/**
 * A device whose one program is deterministic and needs no kernels: the output block is the sha-256 of its input, repeated. Tests can hold it in
 * mid-compute, lose it, or make it fail.
 */
import { AtollError } from '#protocol/errors.ts';
import { type Result, type Workunit, workunitId } from '#protocol/messages/workunit.ts';
import type { Hex } from 'viem';
import type { Compute, ComputeDevice, ExecuteOptions } from '../ports.ts';

export const program = 'test.hash@1';
export const probeDigest: Hex = `0x${'ab'.repeat(32)}`;

export class FakeDevice implements ComputeDevice {
  readonly info: ComputeDevice['info'];
  readonly programs = [program];
  readonly probeDigest = probeDigest;
  readonly lost: Promise<AtollError>;
  lose!: () => void;
  closed = false;
  running = 0;
  readonly #owner: FakeCompute;

  constructor(owner: FakeCompute) {
    this.#owner = owner;
    this.info = { backend: 'reference', label: owner.label, vendor: 'Test', software: true };
    this.lost = new Promise((resolve) => {
      this.lose = () => resolve(new AtollError('device_lost', 'The device was lost.'));
    });
  }

  async probe(): Promise<Hex> {
    return this.#owner.probe();
  }

  async execute(unit: Workunit, options: ExecuteOptions): Promise<Result> {
    if (this.running++ > 0) throw new Error('Two units share one device.');
    try {
      return await this.#owner.execute(unit, options);
    } finally {
      this.running--;
    }
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

export class FakeCompute implements Compute {
  readonly devices: FakeDevice[] = [];
  label = 'Test device';
  probe = async (): Promise<Hex> => probeDigest;
  /** Thrown by `open` while set. */
  noDevice: AtollError | null = null;
  /** Awaited in mid-compute when set. */
  gate: Promise<void> | null = null;
  /** Thrown in mid-compute when set. */
  fault: unknown = null;
  executed = 0;

  get device(): FakeDevice {
    const device = this.devices.at(-1);
    if (!device) throw new Error('No device was opened.');
    return device;
  }

  async open(): Promise<ComputeDevice> {
    if (this.noDevice) throw this.noDevice;
    const device = new FakeDevice(this);
    this.devices.push(device);
    return device;
  }

  async execute(unit: Workunit, { blocks, signal, progress }: ExecuteOptions): Promise<Result> {
    const input = await blocks.get(unit.inputs['in'] as string);
    progress(0, 2);
    if (this.gate) await this.gate;
    if (signal.aborted) throw new AtollError('cancelled', 'The unit was cancelled.');
    if (this.fault) throw this.fault;
    progress(1, 2);
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', input as Uint8Array<ArrayBuffer>));
    const out = new Uint8Array(64);
    out.set(hash);
    out.set(hash, 32);
    out[0] = (out[0] as number) ^ (unit.seed & 255);
    const cid = await blocks.put(out);
    progress(2, 2);
    this.executed++;
    return { v: 1, unit: workunitId(unit), outputs: { out: cid } };
  }
}
