/**
 * Copies between the program's memory and the GPU's, by way of pinned memory that the GPU reads and writes by itself.
 *
 * Writes go through a ring on the computing stream: what was written may be reused at once, and the thread waits only when the ring is full of copies
 * that have not begun. A read takes a snapshot on the computing stream and is copied out on a stream of its own, piece by piece, while later runs compute.
 */
import koffi from 'koffi';
import { codeOf } from '#protocol/errors.ts';
import type { CudaApi } from './native-api.ts';
import { cudaNotReady, cudaSuccess } from './native-errors.ts';

const ringBytes = 8 * 2 ** 20;
const pieceBytes = 4 * 2 ** 20;
/** Bytes of snapshots that wait to be copied out; a read beyond takes its place in the order of the computing stream. */
const snapshotBytesMax = 512 * 2 ** 20;
/** Copies in the ring begin on these. */
const ringAlignment = 256;
/** CU_EVENT_DISABLE_TIMING. */
const disableTiming = 2;
/** A wait looks this often at once, then every millisecond. */
const eagerLooks = 8;

/** What gives back a thing of the driver's. */
export type FreeName =
  | 'cuMemFree_v2'
  | 'cuMemFreeHost'
  | 'cuStreamDestroy_v2'
  | 'cuEventDestroy_v2'
  | 'cuModuleUnload'
  | 'cuGraphExecDestroy';

/** What copies need of the driver; its calls throw what went wrong. */
export interface Host {
  readonly api: CudaApi;
  readonly compute: bigint;
  readonly copies: bigint;
  readonly pools: boolean;
  /** Neither lost nor destroyed. */
  readonly alive: boolean;
  /** Makes the context this thread's own; throws when the device is gone. */
  enter(): void;
  call: CudaApi['call'];
  make: CudaApi['make'];
  /** `make`, and what gives it back when the driver ends, or at `give`. */
  take(free: FreeName, ...made: Parameters<CudaApi['make']>): bigint;
  give(handle: bigint): void;
  /** Throws for any code but success. */
  check(result: number, call: string): void;
}

/** Pinned memory, seen from both sides. */
class Pinned {
  readonly address: bigint;
  readonly bytes: Uint8Array;

  constructor(host: Host, size: number) {
    this.address = host.take('cuMemFreeHost', 'cuMemHostAlloc', size, 0);
    this.bytes = new Uint8Array(koffi.view(this.address, size));
  }
}

/** Events without timing; reused, since thousands come and go. */
export class Events {
  private readonly host: Host;
  private readonly spare: bigint[] = [];

  constructor(host: Host) {
    this.host = host;
  }

  record(stream: bigint): bigint {
    const event = this.spare.pop() ?? this.host.take('cuEventDestroy_v2', 'cuEventCreate', disableTiming);
    this.host.call('cuEventRecord', event, stream);
    return event;
  }

  isDone(event: bigint): boolean {
    const result = this.host.api.result('cuEventQuery', event);
    if (result !== cudaNotReady) this.host.check(result, 'cuEventQuery');
    return result === cudaSuccess;
  }

  /** Without blocking the thread. */
  async done(event: bigint): Promise<void> {
    for (let looks = 0; ; looks++) {
      this.host.enter();
      if (this.isDone(event)) break;
      await new Promise<void>((resolve) => {
        if (looks < eagerLooks) setImmediate(resolve);
        else setTimeout(resolve, 1);
      });
    }
    this.spare.push(event);
  }

  /** Blocks the thread. */
  wait(event: bigint): void {
    this.host.call('cuEventSynchronize', event);
    this.spare.push(event);
  }

  reuse(event: bigint): void {
    this.spare.push(event);
  }
}

/** Copies to the GPU. */
export class WriteRing {
  private readonly host: Host;
  private readonly events: Events;
  private pinned: Pinned | null = null;
  private head = 0;
  /** Oldest first; each takes ring bytes [from, to) until its event is done. */
  private readonly flying: { from: number; to: number; event: bigint }[] = [];

  constructor(host: Host, events: Events) {
    this.host = host;
    this.events = events;
  }

  write(address: bigint, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      this.piece(address + BigInt(at), bytes.subarray(at, at + pieceBytes));
    }
  }

  private piece(address: bigint, bytes: Uint8Array): void {
    this.pinned ??= new Pinned(this.host, ringBytes);
    const from = this.room(bytes.length);
    this.pinned.bytes.set(bytes, from);
    const source = this.pinned.address + BigInt(from);
    this.host.call('cuMemcpyHtoDAsync_v2', address, source, bytes.length, this.host.compute);
    const to = from + Math.ceil(bytes.length / ringAlignment) * ringAlignment;
    this.flying.push({ from, to, event: this.events.record(this.host.compute) });
    this.head = to;
  }

  /** Where so many bytes are free, once older copies have gone. */
  private room(bytes: number): number {
    while (this.flying[0] && this.events.isDone(this.flying[0].event)) this.drop();
    if (this.flying.length === 0) this.head = 0;
    if (this.head + bytes > ringBytes) this.head = 0;
    const from = this.head;
    const clashes = () => this.flying.some((copy) => copy.from < from + bytes && from < copy.to);
    while (clashes()) {
      this.events.wait((this.flying[0] as { event: bigint }).event);
      this.flying.shift();
    }
    return from;
  }

  private drop(): void {
    const copy = this.flying.shift();
    if (copy) this.events.reuse(copy.event);
  }
}

interface Snapshot {
  readonly address: bigint;
  readonly bytes: number;
  /** The event after which it is whole. */
  readonly ready: bigint;
}

/** Copies from the GPU. */
export class Reads {
  private readonly host: Host;
  private readonly events: Events;
  private readonly pieces: Pinned[] = [];
  private snapshotBytes = 0;
  /** Reads are copied out one after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(host: Host, events: Events) {
    this.host = host;
    this.events = events;
  }

  read(address: bigint, bytes: number): Promise<Uint8Array> {
    const snapshot = this.snapshot(address, bytes);
    const result = snapshot
      ? this.turn.then(() => this.copyOut(snapshot)).finally(() => this.forget(snapshot))
      : this.direct(address, bytes);
    this.turn = result.catch(() => {});
    return result;
  }

  /** A copy of what memory holds now in the order of the computing stream; null where there is no room for one. */
  private snapshot(address: bigint, bytes: number): Snapshot | null {
    if (!this.host.pools || this.snapshotBytes + bytes > snapshotBytesMax) return null;
    const { compute } = this.host;
    let copy: bigint;
    try {
      copy = this.host.make('cuMemAllocAsync', bytes, compute);
    } catch (error) {
      if (codeOf(error) === 'out_of_memory') return null;
      throw error;
    }
    this.host.call('cuMemcpyDtoDAsync_v2', copy, address, bytes, compute);
    this.snapshotBytes += bytes;
    return { address: copy, bytes, ready: this.events.record(compute) };
  }

  private forget({ address, bytes }: Snapshot): void {
    this.snapshotBytes -= bytes;
    // A device that is gone has no memory to give back.
    if (!this.host.alive) return;
    this.host.enter();
    this.host.call('cuMemFreeAsync', address, this.host.copies);
  }

  private async copyOut(from: Snapshot): Promise<Uint8Array> {
    const { bytes } = from;
    this.host.enter();
    this.host.call('cuStreamWaitEvent', this.host.copies, from.ready, 0);
    this.events.reuse(from.ready);
    while (this.pieces.length < 2) this.pieces.push(new Pinned(this.host, pieceBytes));
    const out = new Uint8Array(bytes);
    const start = (at: number) => {
      const piece = this.pieces[(at / pieceBytes) % 2] as Pinned;
      const size = Math.min(pieceBytes, bytes - at);
      this.host.call(
        'cuMemcpyDtoHAsync_v2',
        piece.address,
        from.address + BigInt(at),
        size,
        this.host.copies,
      );
      return { at, size, piece, event: this.events.record(this.host.copies) };
    };
    let next: ReturnType<typeof start> | null = start(0);
    while (next) {
      const now: ReturnType<typeof start> = next;
      next = now.at + pieceBytes < bytes ? start(now.at + pieceBytes) : null;
      await this.events.done(now.event);
      out.set(now.piece.bytes.subarray(0, now.size), now.at);
    }
    return out;
  }

  /** In the order of the computing stream, into pinned memory of its own: where there is no memory for a snapshot. */
  private async direct(address: bigint, bytes: number): Promise<Uint8Array> {
    const pinned = new Pinned(this.host, bytes);
    let copied = false;
    try {
      this.host.call('cuMemcpyDtoHAsync_v2', pinned.address, address, bytes, this.host.compute);
      await this.events.done(this.events.record(this.host.compute));
      copied = true;
      return pinned.bytes.slice();
    } finally {
      // While the copy may still be under way the memory stays the GPU's.
      if (copied) this.host.give(pinned.address);
    }
  }
}
