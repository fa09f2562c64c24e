/** Every op has all its twins: a specification, the reference, WGSL, WebAssembly, conformance cases and a row of the op table. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createCpuDevice } from '../device/cpu.ts';
import type { Device, OpName, Ops } from '../device/device.ts';
import { wasmOps } from '../device/wasm-ops.ts';
import { passBuilders } from '../device/webgpu-ops.ts';
import { cudaAbsent, opTable } from '../ops/table.ts';
import { opCases } from './op-cases.ts';
import { type Call, callsOf } from './testing/calls.ts';

const names = Object.keys(opTable) as OpName[];
const calls: Call[] = [];
for (const given of opCases) calls.push(...(await callsOf(given)));

/** An op's arguments as its specification declares them. */
const argsOf = (name: OpName) => `${name[0]?.toUpperCase()}${name.slice(1)}Args`;

function opsOf(device: Device): string[] {
  let ops: Ops | undefined;
  device.record((given) => void (ops = given));
  return Object.keys(ops ?? {});
}

describe('every op', () => {
  it.each([
    ['the reference', opsOf(createCpuDevice())],
    ['WebGPU', Object.keys(passBuilders)],
    ['WebAssembly', Object.keys(wasmOps)],
  ])('is in the table and on %s', (_, found) => {
    expect(found.toSorted()).toEqual(names.toSorted());
  });

  it.each(names)('%s has a folder of twins, and none of CUDA without a word', (name) => {
    const { folder } = opTable[name];
    const file = (twin: string) => fileURLToPath(new URL(`../ops/${folder}/${twin}`, import.meta.url));
    for (const twin of ['cpu.ts', 'gpu.ts', 'wasm.ts']) {
      expect([`${folder}/${twin}`, existsSync(file(twin))]).toEqual([`${folder}/${twin}`, true]);
    }
    // The sum shares a specification with the elementwise ops.
    const spec = readFileSync(existsSync(file('spec.ts')) ? file('spec.ts') : file('../elementwise/spec.ts'));
    expect(spec.toString()).toContain(argsOf(name));
    expect(cudaAbsent).toMatch(/later issue/);
  });

  it.each(names)('%s has conformance cases, one of them in the probe', (name) => {
    const own = calls.filter(({ op }) => op === name);
    expect(own.length).toBeGreaterThan(0);
    expect(own.some(({ probe }) => probe)).toBe(true);
  });

  it.each(names)('%s says its shapes, its cost and its gradient', (name) => {
    const { shapes, gradient, source, flops, bytes } = opTable[name];
    expect(shapes.length).toBeGreaterThan(10);
    expect(source.length).toBeGreaterThan(3);
    if (!gradient.startsWith('none: ')) expect(names).toContain(gradient);
    for (const { args } of calls.filter(({ op }) => op === name)) {
      const [work, moved] = [flops(args as never), bytes(args as never)];
      expect([Number.isFinite(work), work >= 0, moved >= 4, Number.isFinite(moved)]).not.toContain(false);
    }
  });
});
