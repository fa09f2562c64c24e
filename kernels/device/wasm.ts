/**
 * The WASM device: every op in WebAssembly SIMD, the same bits as the reference. For machines without a usable GPU, and for Node.
 *
 * All tensors lie in one memory of at most 4 GiB. `run` computes before it returns, on this thread and on the others of its pool.
 */
import { AtollError } from '#protocol/errors.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import { checkOp } from '../ops/checks.ts';
import type { Device, OpArgs, OpName, Ops, Recording } from './device.ts';
import { Account, WasmMemory } from './wasm-memory.ts';
import { type Kernels, loadModule } from './wasm-module.ts';
import { at, type Call, wasmOps, type WasmOperand, type WasmTensor } from './wasm-ops.ts';
import { checkNarrow } from '../tensor/tensor.ts';
import { canShareMemory, ThreadPool, threadsMax } from './wasm-pool.ts';
import { type BoundCall, decodeProgram, encodeProgram, kernelNames } from './wasm-program.ts';

export interface WasmOptions {
  /** Most bytes the device may take; 4 GiB less a page unless given. */
  bytesMax?: number;
  /** Threads, this one included; 1 unless given. More than one needs shared memory: see `canShareMemory`. */
  threads?: number;
  signal?: AbortSignal;
}

interface WasmRecording extends Recording {
  readonly calls: readonly BoundCall[];
  /** Address of the same calls for the other threads; 0 when there are none. */
  readonly program: number;
}

/** What every scope of a device shares. */
interface Host {
  readonly memory: WasmMemory;
  readonly kernels: Kernels;
  readonly names: readonly string[];
  readonly info: DeviceInfo;
  readonly pool: ThreadPool | null;
  readonly parts: number;
  programs: number;
}

const pageBytes = 65536;
const pagesMax = 65535;
/** The control block of the threads: after the kernels' constants, before the first block. */
const controlAt = 960;

/** Throws `no_device` with what to do about it, or `cancelled`. */
export async function createWasmDevice(options: WasmOptions = {}): Promise<Device> {
  const parts = options.threads ?? 1;
  if (!Number.isInteger(parts) || parts < 1 || parts > threadsMax) {
    throw new AtollError('bad_input', `A WebAssembly device has 1 to ${threadsMax} threads, not ${parts}.`);
  }
  if (parts > 1 && !canShareMemory()) {
    throw new AtollError('no_device', 'Threads need shared memory: the page must be cross-origin isolated.');
  }
  const module = await loadModule(parts > 1 ? 'threads' : 'single');
  checkSignal(options.signal);
  const pages = Math.min(pagesMax, Math.floor((options.bytesMax ?? 2 ** 32) / pageBytes));
  const memory = makeMemory(pages, parts > 1);
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const kernels = instance.exports as unknown as Kernels;
  kernels['fillConstants']?.();
  const pool = parts > 1 ? new ThreadPool(module, memory, controlAt, parts) : null;
  await pool?.start();
  if (options.signal?.aborted) pool?.close();
  checkSignal(options.signal);
  const label = parts > 1 ? `WebAssembly SIMD, ${parts} threads` : 'WebAssembly SIMD';
  return scope({
    memory: new WasmMemory(memory, pages * pageBytes),
    kernels,
    names: kernelNames(module),
    info: { backend: 'wasm', label, vendor: '', software: true },
    pool,
    parts,
    programs: 0,
  });
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new AtollError('cancelled', 'The device is no longer wanted.');
}

function makeMemory(pages: number, shared: boolean): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: Math.min(16, pages), maximum: pages, shared });
  } catch (error) {
    throw new AtollError('out_of_memory', 'No room for the memory of WebAssembly.', { cause: error });
  }
}

/** The device itself, or a scope of it: `destroy` ends the threads only with the device. */
function scope(host: Host, isWhole = true): Device {
  const { memory, pool } = host;
  const account = new Account(memory);
  return {
    info: host.info,
    lost: pool?.lost ?? new Promise(() => {}),
    tensor(size) {
      checkSize(size);
      return { size, at: account.allocate(size * 4) } as WasmTensor;
    },
    quantized: (batch, rows, cols, transposed = false, narrow = false) =>
      operand(account, batch, rows, cols, transposed, narrow),
    write(target, words, from = 0) {
      if (!Number.isSafeInteger(from) || from < 0 || from + words.length > target.size) {
        throw new AtollError('bad_input', 'write: the words do not fit the tensor.');
      }
      const bits = new Uint32Array(words.buffer, words.byteOffset, words.length);
      memory.words(at(target) + from * 4, words.length).set(bits);
    },
    // A copy, bit for bit: the buffer may be shared, or grow and be detached.
    read: (source) => Promise.resolve(memory.floats(at(source), source.size).slice()),
    readQuantized: (q) => Promise.resolve(unpack(memory, q as WasmOperand)),
    record: (build) => record(build, account, host),
    // Computes before it returns, but throws as a promise.
    run: (recording) => new Promise((done) => done(run(host, recording as WasmRecording))),
    scope: () => scope(host, false),
    destroy() {
      account.close();
      if (isWhole) pool?.close();
    },
  };
}

function run({ pool }: Host, { calls, program }: WasmRecording): void {
  if (pool) pool.run(program, calls);
  else for (const { kernel, args } of calls) kernel(...args);
}

function record(build: (ops: Ops) => void, account: Account, host: Host): WasmRecording {
  const { memory, kernels, names, parts } = host;
  const calls: Call[] = [];
  let ops = 0;
  const op = (name: OpName) => (args: OpArgs[OpName]) => {
    checkOp(name, args as never);
    ops++;
    calls.push(...(wasmOps[name] as (a: OpArgs[OpName], account: Account) => Call[])(args, account));
  };
  const opNames = Object.keys(wasmOps) as OpName[];
  build(Object.fromEntries(opNames.map((name) => [name, op(name)])) as unknown as Ops);
  const scratchBytes = Math.ceil(Math.max(64, ...calls.map((call) => call.scratchBytes)) / 64) * 64;
  const scratch = account.allocate(scratchBytes * parts);
  const words = encodeProgram(++host.programs, calls, names, scratch, scratchBytes);
  const program = account.allocate(words.byteLength);
  const view = new Float64Array(memory.memory.buffer, program, words.length);
  view.set(words);
  return {
    ops,
    calls: decodeProgram((word) => view[(word - program) / 8] as number, program, names, kernels, 0, parts),
    program,
  };
}

function operand(
  account: Account,
  batch: number,
  rows: number,
  cols: number,
  transposed: boolean,
  narrow: boolean,
): WasmOperand {
  const [lines, length] = transposed ? [cols, rows] : [rows, cols];
  checkSize(batch * rows * cols);
  checkNarrow({ transposed, narrow });
  // An odd number of cache lines.
  const panelBytes = (Math.ceil(length / (narrow ? 16 : 8)) | 1) * 64;
  const size = (batch * Math.ceil(lines / 4) * panelBytes) / 4;
  checkSize(size);
  const mantissas = { size, at: account.allocate(size * 4) };
  const exponents = { size: batch * rows, at: account.allocate(batch * rows * 4) };
  const fields = [
    mantissas.at,
    exponents.at,
    batch,
    rows,
    lines,
    length,
    panelBytes,
    transposed ? 1 : 0,
    narrow ? 1 : 0,
  ];
  const shape = { batch, rows, cols, transposed, narrow };
  return { ...shape, mantissas, exponents, lines, length, panelBytes, record: account.record(fields) };
}

function checkSize(size: number): void {
  if (Number.isSafeInteger(size) && size > 0 && size < 2 ** 30) return;
  throw new AtollError('out_of_memory', `A tensor of ${size} elements does not fit this device.`);
}

/** Panels back to lines one after the other: [batch][rows][cols], or [batch][cols][rows] when transposed. */
function unpack(memory: WasmMemory, q: WasmOperand): { mantissas: Int32Array; exponents: Int32Array } {
  const { batch, lines, length, panelBytes } = q;
  const panels = Math.ceil(lines / 4);
  const from = q.narrow
    ? memory.bytes(q.mantissas.at, q.mantissas.size * 4)
    : memory.shorts(q.mantissas.at, q.mantissas.size * 2);
  const mantissas = new Int32Array(batch * lines * length);
  for (let i = 0; i < batch * lines; i++) {
    const line = i % lines;
    const panel = ((i - line) / lines) * panels + (line >> 2);
    const start = (panel * panelBytes) / from.BYTES_PER_ELEMENT + (line & 3) * 2;
    for (let k = 0; k < length; k++) {
      mantissas[i * length + k] = from[start + (k >> 1) * 8 + (k & 1)] as number;
    }
  }
  const exponents = Int32Array.from(memory.words(q.exponents.at, q.exponents.size));
  return { mantissas, exponents };
}
