/**
 * A CUDA driver over this processor, for tests: the same `.cu` texts, compiled by g++ (emulated-compiler.ts) and run by fibers.h, behind the port of
 * driver.ts. Memory is ordinary memory whose addresses are real.
 *
 * It makes mistakes show: memory is garbage when allocated, each allocation has margins that are checked after every launch, parameters are checked
 * against the kernel's own, and blocks and threads run in an order that `seed` shuffles. `lose` and `loseAfter` inject a lost device.
 */
import koffi from 'koffi';
import { AtollError } from '#protocol/errors.ts';
import type { BoundLaunch, CudaDriver, CudaFunction, CudaGraph, DriverInfo } from '../driver.ts';
import type { CudaSource } from '../launch.ts';
import { compileForCpu, whyNoCompiler } from './emulated-compiler.ts';

export interface EmulatedOptions {
  /** Order of blocks and threads; 0 is the natural one. Odd seeds also put off asynchronous copies until they are waited for. */
  seed?: number;
  info?: Partial<DriverInfo>;
  /** Launches until the device is lost. */
  loseAfter?: number;
  /** More words for the compiler. */
  flags?: readonly string[];
}

interface EmulatedFunction extends CudaFunction {
  /** `p` for a pointer and `w` for a word, per parameter. */
  readonly kinds: string;
  readonly threadsMax: number;
  readonly run: (words: BigUint64Array, error: Uint8Array) => number;
}

interface Allocation {
  readonly block: bigint;
  readonly bytes: number;
}

const marginBytes = 256;
const stackBytes = 64 << 10;
/** A float that is no number, a large unsigned, a negative integer: fibers.h has the same. */
const garbage = 0xffa5a5a5;

export const emulatedInfo: DriverInfo = {
  name: 'Emulated GPU',
  uuid: '',
  capability: 80,
  multiprocessors: 4,
  memoryBytes: 2 ** 31,
  // What the smallest cards of today have.
  sharedMax: 101_376,
  emulated: true,
};

/** Throws `no_device` where there is no compiler. */
export function createEmulatedDriver(options: EmulatedOptions = {}): EmulatedDriver {
  const reason = whyNoCompiler();
  if (reason) throw new AtollError('no_device', `No CUDA device: ${reason}.`);
  return new EmulatedDriver(options);
}

export class EmulatedDriver implements CudaDriver {
  readonly info: DriverInfo;
  readonly lost: Promise<AtollError>;
  private readonly options: EmulatedOptions;
  private readonly host = hostMemory();
  private readonly allocations = new Map<bigint, Allocation>();
  private readonly stacks: bigint;
  private tellLost: (error: AtollError) => void = () => {};
  private gone: AtollError | null = null;
  private used = 0;
  private launches = 0;

  constructor(options: EmulatedOptions) {
    this.options = options;
    this.info = { ...emulatedInfo, ...options.info };
    this.lost = new Promise((resolve) => (this.tellLost = resolve));
    this.stacks = this.host.allocate(4096, 1024 * stackBytes);
  }

  /** From now on every call says that the device is gone. */
  lose(why = 'The emulated device was told to go away.'): void {
    if (this.gone) return;
    this.gone = new AtollError('device_lost', why);
    this.tellLost(this.gone);
  }

  allocate(bytes: number): bigint {
    this.check();
    const room = Math.ceil(bytes / 256) * 256;
    if (this.used + room > this.info.memoryBytes)
      throw new AtollError('out_of_memory', `${bytes} bytes more do not fit into ${this.info.memoryBytes}.`, {
        details: { bytes, bytesMax: this.info.memoryBytes },
      });
    const block = this.host.allocate(256, room + 2 * marginBytes);
    this.host.fillWords(block, garbage, (room + 2 * marginBytes) / 4);
    this.used += room;
    this.allocations.set(block + BigInt(marginBytes), { block, bytes: room });
    return block + BigInt(marginBytes);
  }

  release(address: bigint): void {
    const { block, bytes } = this.own(address);
    this.allocations.delete(address);
    this.used -= bytes;
    this.host.free(block);
  }

  zero(address: bigint, bytes: number): void {
    this.check();
    this.inside(address, bytes);
    this.host.zero(address, 0, bytes);
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.check();
    this.inside(address, bytes.length);
    this.host.copyIn(address, bytes, bytes.length);
  }

  read(address: bigint, bytes: number): Promise<Uint8Array> {
    return Promise.resolve().then(() => {
      this.check();
      return this.readNow(address, bytes);
    });
  }

  private readNow(address: bigint, bytes: number): Uint8Array {
    this.inside(address, bytes);
    const out = new Uint8Array(bytes);
    this.host.copyOut(out, address, bytes);
    return out;
  }

  async load(source: CudaSource, entries: readonly string[]): Promise<Map<string, CudaFunction>> {
    this.check();
    const library = koffi.load(await compileForCpu(source, entries, this.options.flags));
    const functions = new Map<string, CudaFunction>();
    for (const entry of entries) {
      const found: EmulatedFunction = {
        entry,
        kinds: library.func(`const char *atoll_args_${entry}()`)() as string,
        threadsMax: library.func(`int atoll_bounds_${entry}()`)() as number,
        run: library.func(
          `int atoll_run_${entry}(const uint64_t *words, _Out_ uint8_t *error)`,
        ) as EmulatedFunction['run'],
      };
      functions.set(entry, found);
    }
    return functions;
  }

  graph(launches: readonly BoundLaunch[]): CudaGraph {
    this.check();
    for (const launch of launches) this.checkLaunch(launch);
    return new EmulatedGraph(launches.map((launch) => this.bind(launch)));
  }

  launch(graph: CudaGraph): void {
    for (const { fn, words } of (graph as EmulatedGraph).bound) {
      if (this.launches++ === this.options.loseAfter) this.lose();
      this.check();
      words[7] = BigInt(this.options.seed ?? 0);
      const error = new Uint8Array(1024);
      if (fn.run(words, error) !== 0)
        throw wrong(new TextDecoder().decode(error.subarray(0, error.indexOf(0))));
      this.checkMargins(fn.entry);
    }
  }

  destroy(): void {
    for (const { block } of this.allocations.values()) this.host.free(block);
    this.allocations.clear();
    this.host.free(this.stacks);
  }

  private check(): void {
    if (this.gone) throw this.gone;
  }

  private own(address: bigint): Allocation {
    const found = this.allocations.get(address);
    if (!found) throw wrong(`0x${address.toString(16)} is no allocation.`);
    return found;
  }

  private inside(address: bigint, bytes: number): void {
    for (const [start, { bytes: size }] of this.allocations)
      if (address >= start && address + BigInt(bytes) <= start + BigInt(size)) return;
    throw wrong(`${bytes} bytes at 0x${address.toString(16)} lie in no allocation.`);
  }

  private checkLaunch({ fn, args, grid, block, shared }: BoundLaunch): void {
    const { entry, kinds, threadsMax } = fn as EmulatedFunction;
    const given = args.map((arg) => (typeof arg === 'bigint' ? 'p' : 'w')).join('');
    if (given !== kinds) throw wrong(`${entry} takes ${kinds} (pointer, word), not ${given}.`);
    const threads = block[0] * block[1] * block[2];
    if (threads > threadsMax || block[2] > 64)
      throw wrong(`${entry} takes blocks of ${threadsMax} threads at most, not ${block.join(' x ')}.`);
    const whole = [...grid, ...block].every((n) => Number.isInteger(n) && n >= 1);
    if (!whole || grid[0] >= 2 ** 31 || grid[1] > 65_535 || grid[2] > 65_535)
      throw wrong(`${entry}: no such grid: ${grid.join(' x ')} of ${block.join(' x ')}.`);
    if (shared > this.info.sharedMax)
      throw wrong(`${entry}: ${shared} bytes of shared memory, more than ${this.info.sharedMax}.`);
    for (const arg of args) if (typeof arg === 'bigint' && arg !== 0n) this.inside(arg, 0);
    for (const arg of args)
      if (typeof arg === 'number' && (!Number.isInteger(arg) || arg < -(2 ** 31) || arg >= 2 ** 32))
        throw wrong(`${entry}: ${arg} is no 32-bit word.`);
  }

  private bind({ fn, args, grid, block, shared }: BoundLaunch): Bound {
    const head = [...grid, ...block, shared, 0].map(BigInt);
    const words = BigUint64Array.from([
      ...head,
      this.stacks,
      ...args.map((arg) => BigInt.asUintN(64, BigInt(arg))),
    ]);
    return { fn: fn as EmulatedFunction, words };
  }

  private checkMargins(entry: string): void {
    for (const [address, { block, bytes }] of this.allocations)
      for (const at of [block, address + BigInt(bytes)])
        if (!this.host.isFilled(at))
          throw wrong(
            `${entry} wrote ${at === block ? 'before' : 'behind'} an allocation of ${bytes} bytes.`,
          );
  }
}

interface Bound {
  readonly fn: EmulatedFunction;
  readonly words: BigUint64Array;
}

class EmulatedGraph implements CudaGraph {
  readonly bound: readonly Bound[];

  constructor(bound: readonly Bound[]) {
    this.bound = bound;
  }

  free(): void {}
}

const wrong = (message: string) => new AtollError('nonconforming', message);

/** Memory of this process by its address, through the C library. */
function hostMemory() {
  const c = koffi.load(null);
  const margin = new Uint8Array(new Uint32Array(marginBytes / 4).fill(garbage).buffer);
  const allocate = c.func('size_t aligned_alloc(size_t alignment, size_t bytes)');
  const fill = c.func('size_t wmemset(uint64_t at, uint32_t word, size_t count)');
  const compare = c.func('int memcmp(uint64_t at, const uint8_t *with, size_t count)');
  return {
    allocate: (alignment: number, bytes: number) => BigInt(allocate(alignment, bytes) as number | bigint),
    free: c.func('void free(uint64_t at)') as (at: bigint) => void,
    zero: c.func('size_t memset(uint64_t at, int value, size_t count)') as (
      at: bigint,
      value: number,
      count: number,
    ) => void,
    copyIn: c.func('size_t memcpy(uint64_t to, const uint8_t *from, size_t count)') as (
      to: bigint,
      from: Uint8Array,
      count: number,
    ) => void,
    copyOut: c.func('size_t memcpy(_Out_ uint8_t *to, uint64_t from, size_t count)') as (
      to: Uint8Array,
      from: bigint,
      count: number,
    ) => void,
    fillWords: fill as (at: bigint, word: number, count: number) => void,
    isFilled: (at: bigint) => compare(at, margin, marginBytes) === 0,
  };
}
