/** The op calls that a conformance case makes, noted on a device that computes nothing. */
import type { Device, OpName, Ops } from '../../device/device.ts';
import { opTable } from '../../ops/table.ts';
import type { Quantized, Tensor } from '../../tensor/tensor.ts';
import type { Case } from '../case.ts';

export interface Call {
  op: OpName;
  args: Record<string, unknown>;
  probe: boolean;
}

const tensor = (size: number): Tensor => ({ size });

function operand(batch: number, rows: number, cols: number, transposed = false): Quantized {
  const size = batch * rows * cols;
  return { batch, rows, cols, transposed, mantissas: tensor(size), exponents: tensor(batch * rows) };
}

/** Calls of one case, in order. */
export async function callsOf({ run, probe }: Case): Promise<Call[]> {
  const calls: Call[] = [];
  const note = (op: OpName) => (args: unknown) =>
    void calls.push({ op, args: args as Record<string, unknown>, probe });
  const ops = Object.fromEntries((Object.keys(opTable) as OpName[]).map((op) => [op, note(op)]));
  const device: Device = {
    info: { backend: 'reference', label: 'notes', vendor: '', software: true },
    lost: new Promise(() => {}),
    tensor,
    quantized: operand,
    write() {},
    read: ({ size }) => Promise.resolve(new Float32Array(size)),
    readQuantized: () => Promise.resolve({ mantissas: new Int32Array(1), exponents: new Int32Array(1) }),
    record(build) {
      build(ops as unknown as Ops);
      return { ops: calls.length };
    },
    run: () => Promise.resolve(),
    scope: () => device,
    destroy() {},
  };
  await run(device);
  return calls;
}
