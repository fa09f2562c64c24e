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
import { compileForCpu, lineOf, whyNoCompiler } from './emulated-compiler.ts';

export interface EmulatedOptions {
  /** Order of blocks and threads; 0 is the natural one. Odd seeds also put off asynchronous copies until they are waited for. */
  seed?: number;
  info?: Partial<DriverInfo>;
  /** Launches until the device is lost. */
  loseAfter?: number;
  /** Looks at every access for races and for what lies outside of allocations (checks.h): ten times as slow. */
  checked?: boolean;
}

interface EmulatedFunction extends CudaFunction {
  /** Of the library. */
  readonly path: string;
  /** `p` for a pointer and `w` for a word, per parameter. */
  readonly kinds: string;
  readonly threadsMax: number;
  readonly run: (words: BigUint64Array, error: Uint8Array) => number;
}

interface Allocation {
  readonly block: bigint;
  readonly bytes: number;
  /** What checks.h knows of each byte. */
  readonly shadow: bigint;
}

const marginBytes = 256;
const stackBytes = 64 << 10;
/** Of one byte, in checks.h, and of shared memory: static, dynamic and its margin. */
const shadowBytes = 28;
const sharedBytes = 400_000;
/** Words before a kernel's arguments, as run_words of fibers.h reads them. */
const slots = { seed: 7, stacks: 8, regions: 9, stamp: 12, count: 13, arguments: 14 } as const;
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
  private readonly sharedShadow: bigint;
  private tellLost: (error: AtollError) => void = () => {};
  private gone: AtollError | null = null;
  private destroyed = false;
  private used = 0;
  private launches = 0;
  private stamp = 1n;

  constructor(options: EmulatedOptions) {
    this.options = options;
    this.info = { ...emulatedInfo, ...options.info };
    this.lost = new Promise((resolve) => (this.tellLost = resolve));
    this.stacks = this.host.allocate(4096, 1024 * stackBytes);
    this.sharedShadow = this.shadow(sharedBytes);
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
    this.allocations.set(block + BigInt(marginBytes), { block, bytes, shadow: this.shadow(bytes) });
    return block + BigInt(marginBytes);
  }

  private shadow(bytes: number): bigint {
    return this.options.checked ? this.host.zeroed(bytes, shadowBytes) : 0n;
  }

  release(address: bigint): void {
    if (this.destroyed && !this.allocations.has(address)) return;
    const { block, bytes, shadow } = this.own(address);
    this.allocations.delete(address);
    this.used -= Math.ceil(bytes / 256) * 256;
    this.host.free(block);
    this.host.free(shadow);
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
    const path = await compileForCpu(source, entries, this.options.checked);
    const library = koffi.load(path);
    const functions = new Map<string, CudaFunction>();
    for (const entry of entries) {
      const found: EmulatedFunction = {
        entry,
        path,
        kinds: library.func(`const char *atoll_args_${entry}()`)() as string,
        threadsMax: library.func(`int atoll_bounds_${entry}()`)() as number,
        run: library.func(
          `int atoll_run_${entry}(_Inout_ uint64_t *words, _Out_ uint8_t *error)`,
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
    const regions = this.regions();
    for (const { fn, words } of (graph as EmulatedGraph).bound) {
      if (this.launches++ === this.options.loseAfter) this.lose();
      this.check();
      words[slots.seed] = BigInt(this.options.seed ?? 0);
      words.set([this.host.addressOf(regions), BigInt(regions.length / 3), this.sharedShadow], slots.regions);
      words[slots.stamp] = this.stamp;
      const error = new Uint8Array(1024);
      const failed = fn.run(words, error) !== 0;
      this.stamp = words[slots.stamp] as bigint;
      if (failed) throw wrong(said(fn, new TextDecoder().decode(error.subarray(0, error.indexOf(0)))));
      this.checkMargins(fn.entry);
    }
  }

  /** Start, bytes and shadow of each allocation, for the checks. */
  private regions(): BigUint64Array {
    const all = this.options.checked ? [...this.allocations] : [];
    return BigUint64Array.from(
      all.flatMap(([address, { bytes, shadow }]) => [address, BigInt(bytes), shadow]),
    );
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.gone ??= new AtollError('device_lost', 'The emulated device was destroyed.');
    for (const address of [...this.allocations.keys()]) this.release(address);
    this.host.free(this.stacks);
    this.host.free(this.sharedShadow);
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
    const words = new BigUint64Array(slots.arguments + args.length);
    words.set([...grid, ...block, shared, 0].map(BigInt));
    words[slots.stacks] = this.stacks;
    words[slots.count] = BigInt(args.length);
    words.set(
      args.map((arg) => BigInt.asUintN(64, BigInt(arg))),
      slots.arguments,
    );
    return { fn: fn as EmulatedFunction, words };
  }

  private checkMargins(entry: string): void {
    for (const [address, { block, bytes }] of this.allocations) {
      const end = address + BigInt(bytes);
      const room = Number(-end & 255n);
      if (!this.host.isGarbage(block, marginBytes))
        throw wrong(`${entry} wrote before an allocation of ${bytes} bytes.`);
      if (!this.host.isGarbage(end, room + marginBytes))
        throw wrong(`${entry} wrote behind an allocation of ${bytes} bytes.`);
    }
  }
}

type Call<A extends unknown[]> = (...args: A) => void;

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

/** A message with the line in place of the address. */
function said({ path }: EmulatedFunction, message: string): string {
  return message.replace(/pc \+(0x[0-9a-f]+)/, (_, offset: string) => lineOf(path, offset));
}

/** Memory of this process by its address, through the C library. */
function hostMemory() {
  const c = koffi.load(null);
  const sample = new Uint8Array(new Uint32Array(marginBytes / 2).fill(garbage).buffer);
  const allocate = c.func('size_t aligned_alloc(size_t alignment, size_t bytes)');
  const zeroed = c.func('size_t calloc(size_t count, size_t bytes)');
  const compare = c.func('int memcmp(uint64_t at, const uint8_t *with, size_t count)');
  const big = (address: number | bigint) => BigInt(address);
  return {
    allocate: (alignment: number, bytes: number) => big(allocate(alignment, bytes) as number),
    zeroed: (count: number, bytes: number) => big(zeroed(count, bytes) as number),
    free: c.func('void free(uint64_t at)') as (at: bigint) => void,
    zero: c.func('size_t memset(uint64_t at, int value, size_t count)') as Call<[bigint, number, number]>,
    copyIn: c.func('size_t memcpy(uint64_t to, const uint8_t *from, size_t count)') as Call<
      [bigint, Uint8Array, number]
    >,
    copyOut: c.func('size_t memcpy(_Out_ uint8_t *to, uint64_t from, size_t count)') as Call<
      [Uint8Array, bigint, number]
    >,
    fillWords: c.func('size_t wmemset(uint64_t at, uint32_t word, size_t count)') as Call<
      [bigint, number, number]
    >,
    /** Whether margins hold what they were filled with: from an address on that may lie anywhere in a word. */
    isGarbage: (at: bigint, bytes: number) => {
      const from = Number(at & 3n);
      return compare(at, sample.subarray(from, from + bytes), bytes) === 0;
    },
    addressOf: (words: BigUint64Array) => (words.length === 0 ? 0n : big(koffi.address(words) as bigint)),
  };
}
