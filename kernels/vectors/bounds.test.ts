/**
 * Shapes that do not fit are refused with `bad_input` by every backend when an op is recorded: sizes that are no counts, tensors too small, operands of
 * other shapes. The arguments are those of the conformance cases, each spoilt in one place.
 */
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../device/cpu.ts';
import type { OpName, Ops } from '../device/device.ts';
import { createWasmDevice } from '../device/wasm.ts';
import { collector } from '../device/webgpu.ts';
import { opTable } from '../ops/table.ts';
import { type View, viewEnd } from '../tensor/tensor.ts';
import { opCases } from './op-cases.ts';
import { type Call, callsOf } from './testing/calls.ts';

type Args = Record<string, unknown>;

const calls: Call[] = [];
for (const given of opCases) calls.push(...(await callsOf(given)));
const names = Object.keys(opTable) as OpName[];

/** Tensors whose size says a number of rows that no other argument says: any whole number of rows will do. */
const elastic = new Set(['embed.wte', 'embed.wpe', 'rotary.cos', 'rotary.sin', 'scatterAdd.dst']);
/** Tensors that may hold more than the op looks at; halves of them can still be enough. */
const roomy = /\.(dstRow|position|temperature|scalars|gradScale)$|^(sample|sum|sumSquares|clipScale|decodeRows)\.dst$/;

const isTensor = (value: unknown): value is { size: number } =>
  typeof value === 'object' && value !== null && 'size' in value;
const isOperand = (value: unknown): value is { batch: number; cols: number } =>
  typeof value === 'object' && value !== null && 'mantissas' in value;
const isView = (value: unknown): value is View =>
  typeof value === 'object' && value !== null && 'tensor' in value;

/** Every way to spoil these arguments, by name. */
function spoilt(op: OpName, args: Args): [string, Args][] {
  const out: [string, Args][] = [];
  const put = (key: string, what: string, value: unknown) =>
    out.push([`${key} ${what}`, { ...args, [key]: value }]);
  for (const key of opTable[op].counts as readonly string[]) {
    for (const count of [0, -1, 1.5, Number.NaN]) put(key, `is ${count}`, count);
  }
  for (const [key, value] of Object.entries(args)) {
    if (isOperand(value)) {
      put(key, 'has another batch', { ...value, batch: value.batch + 1 });
      // Prefixes of rows are products too, and only the exponents of a folded operand are looked at.
      const any = key === 'foldScale' || args['length'] !== undefined;
      if (!any) put(key, 'has longer rows', { ...value, cols: value.cols + 1 });
    } else if (isTensor(value)) {
      put(key, 'is empty', { size: 0 });
      const half = Math.floor(value.size / 2);
      if (half > 0 && !elastic.has(`${op}.${key}`) && !roomy.test(`${op}.${key}`)) put(key, 'is half', { size: half });
    } else if (isView(value)) {
      put(key, 'lies in an empty tensor', { ...value, tensor: { size: 0 } });
      put(key, 'lies in a tensor too small', { ...value, tensor: { size: viewEnd(value) - 1 } });
      put(key, 'has no rows', { ...value, rows: 0 });
      put(key, 'has no columns', { ...value, cols: 0 });
    }
  }
  return out;
}

/** Of an op's calls, one for each set of arguments that are given. */
function typical(op: OpName): Args[] {
  const own = calls.filter((call) => call.op === op).map(({ args }) => args);
  const kinds = new Map(own.map((args) => [JSON.stringify([Object.keys(args).sort(), args['kind']]), args]));
  return [...kinds.values()];
}

const context = {
  scratch: (_: string, size: number) => ({ size }),
  software: false,
} as unknown as Parameters<typeof collector>[0];
const wasm = await createWasmDevice();
const backends: [string, (build: (ops: Ops) => void) => void][] = [
  ['the reference', (build) => void createCpuDevice().record(build)],
  ['WebAssembly', (build) => void wasm.record(build)],
  ['WebGPU', (build) => build(collector(context).ops)],
];

describe.each(backends)('%s', (_, record) => {
  it.each(names)('refuses %s of shapes that do not fit', (op) => {
    const wrong: string[] = [];
    for (const args of typical(op)) {
      for (const [how, bad] of spoilt(op, args)) {
        try {
          record((ops) => (ops[op] as (a: unknown) => void)(bad));
          wrong.push(`${how}: taken`);
        } catch (error) {
          const { code } = error as { code?: string };
          if (code !== 'bad_input') wrong.push(`${how}: ${String(error)}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

it('spoils something of every op', () => {
  for (const op of names) {
    expect([op, typical(op).flatMap((args) => spoilt(op, args)).length > 2]).toEqual([op, true]);
  }
});
