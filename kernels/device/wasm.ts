/**
 * The WASM device: every op in WebAssembly SIMD, the same bits as the reference. For machines without a usable GPU, and for Node.
 *
 * All tensors lie in one memory of at most 4 GiB. `run` computes before it returns.
 */
import { AtollError } from '#protocol/errors.ts';
import type { DeviceInfo } from '#protocol/messages/frames.ts';
import type { Device, OpArgs, OpName, Ops, Recording } from './device.ts';
import { Account, WasmMemory } from './wasm-memory.ts';
import { type Kernels, loadModule } from './wasm-module.ts';
import { at, type Call, wasmOps, type WasmOperand, type WasmTensor } from './wasm-ops.ts';

export interface WasmOptions {
  /** Most bytes the device may take; 4 GiB less a page unless given. */
  bytesMax?: number;
  signal?: AbortSignal;
}

interface WasmRecording extends Recording {
  readonly calls: readonly (readonly [kernel: (...args: number[]) => void, args: readonly number[]])[];
}

const pageBytes = 65536;
const pagesMax = 65535;

const info: DeviceInfo = { backend: 'wasm', label: 'WebAssembly SIMD', vendor: '', software: true };

/** Throws `no_device` with what to do about it, or `cancelled`. */
export async function createWasmDevice(options: WasmOptions = {}): Promise<Device> {
  const module = await loadModule('single');
  if (options.signal?.aborted) throw new AtollError('cancelled', 'The device is no longer wanted.');
  const pages = Math.min(pagesMax, Math.floor((options.bytesMax ?? 2 ** 32) / pageBytes));
  const memory = new WebAssembly.Memory({ initial: Math.min(16, pages), maximum: pages });
  const instance = await WebAssembly.instantiate(module, { env: { memory } });
  const kernels = instance.exports as unknown as Kernels;
  kernels['fillConstants']?.();
  return scope(new WasmMemory(memory, pages * pageBytes), kernels);
}

function scope(memory: WasmMemory, kernels: Kernels): Device {
  const account = new Account(memory);
  const tensor = (size: number): WasmTensor => {
    checkSize(size);
    return { size, at: account.allocate(size * 4) };
  };
  return {
    info,
    lost: new Promise(() => {}),
    tensor,
    quantized: (batch, rows, cols, transposed = false) => operand(account, batch, rows, cols, transposed),
    write(target, words, from = 0) {
      if (!Number.isSafeInteger(from) || from < 0 || from + words.length > target.size) {
        throw new AtollError('bad_input', 'write: the words do not fit the tensor.');
      }
      const bits = new Uint32Array(words.buffer, words.byteOffset, words.length);
      memory.words(at(target) + from * 4, words.length).set(bits);
    },
    // Copied: the buffer may be shared, or grow and be detached.
    read: (source) => Promise.resolve(Float32Array.from(memory.floats(at(source), source.size))),
    readQuantized: (q) => Promise.resolve(unpack(memory, q as WasmOperand)),
    record: (build) => record(build, account, kernels),
    run(recording) {
      for (const [kernel, args] of (recording as WasmRecording).calls) kernel(...args);
      return Promise.resolve();
    },
    scope: () => scope(memory, kernels),
    destroy: () => account.close(),
  };
}

function record(build: (ops: Ops) => void, account: Account, kernels: Kernels): WasmRecording {
  const calls: Call[] = [];
  let ops = 0;
  const op = (name: OpName) => (args: OpArgs[OpName]) => {
    ops++;
    calls.push(...(wasmOps[name] as (a: OpArgs[OpName], account: Account) => Call[])(args, account));
  };
  const names = Object.keys(wasmOps) as OpName[];
  build(Object.fromEntries(names.map((name) => [name, op(name)])) as unknown as Ops);
  const scratch = account.allocate(Math.max(64, ...calls.map((c) => c.scratchBytes)));
  return {
    ops,
    calls: calls.map(({ kernel, args }) => [
      kernels[kernel] as (...args: number[]) => void,
      [...args, scratch, 0, 1],
    ]),
  };
}

function operand(
  account: Account,
  batch: number,
  rows: number,
  cols: number,
  transposed: boolean,
): WasmOperand {
  const [lines, length] = transposed ? [cols, rows] : [rows, cols];
  checkSize(batch * rows * cols);
  // An odd number of cache lines.
  const panelBytes = (Math.ceil(length / 8) | 1) * 64;
  const size = (batch * Math.ceil(lines / 4) * panelBytes) / 4;
  checkSize(size);
  const mantissas = { size, at: account.allocate(size * 4) };
  const exponents = { size: batch * rows, at: account.allocate(batch * rows * 4) };
  const fields = [mantissas.at, exponents.at, batch, rows, lines, length, panelBytes, transposed ? 1 : 0];
  const shape = { batch, rows, cols, transposed };
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
  const from = memory.shorts(q.mantissas.at, q.mantissas.size * 2);
  const mantissas = new Int32Array(batch * lines * length);
  for (let i = 0; i < batch * lines; i++) {
    const line = i % lines;
    const panel = ((i - line) / lines) * panels + (line >> 2);
    const start = (panel * panelBytes) / 2 + (line & 3) * 2;
    for (let k = 0; k < length; k++) {
      mantissas[i * length + k] = from[start + (k >> 1) * 8 + (k & 1)] as number;
    }
  }
  const exponents = Int32Array.from(memory.words(q.exponents.at, q.exponents.size));
  return { mantissas, exponents };
}
