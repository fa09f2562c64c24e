/**
 * What a lane carries, between the block store and a device: weights and moments in, the update out, one parameter at a time and in pieces of 1 MiB, so
 * that nothing of a large model lies in JavaScript's memory. The bits are those of checkpoint.ts and rows.ts. The outer momentum is never read.
 */
import type { Cid } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import type { BlockStore, File } from '#protocol/messages/file.ts';
import type { ModelConfig } from '#protocol/messages/model.ts';
import type { Device, Ops } from '../device/device.ts';
import { packedWords } from '../ops/rows/spec.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { pf32, putUpdateDocument, readCheckpointDocument } from './checkpoint.ts';
import { FileReader, FileWriter } from './file-stream.ts';
import { type ParameterSpec, parameterLayout } from './layout.ts';
import type { Parameter } from './parameters.ts';
import { checkCodes, checkExponents, elementCount, rowCount } from './rows.ts';

/** Elements, or codes, that pass at a time: a multiple of 4. */
const pieceMax = limits.blockBytesMax / 4;

/** A checkpoint that stays in the block store. */
export class StoredCheckpoint {
  readonly model: ModelConfig;
  readonly layout: readonly ParameterSpec[];
  private readonly weights: FileReader;
  private readonly files: { m: File; s: File };
  private readonly blocks: BlockStore;
  private readonly signal: AbortSignal | undefined;

  private constructor(
    blocks: BlockStore,
    document: { model: ModelConfig; weights: File; m: File; s: File },
    signal: AbortSignal | undefined,
  ) {
    this.model = document.model;
    this.layout = parameterLayout(document.model);
    this.weights = new FileReader(blocks, document.weights, 4 * elementCount(this.layout), signal);
    this.files = document;
    this.blocks = blocks;
    this.signal = signal;
  }

  /** Throws `bad_input`, `bad_request` on a document that is not a checkpoint of ours. */
  static async open(blocks: BlockStore, cid: Cid, signal?: AbortSignal): Promise<StoredCheckpoint> {
    return new StoredCheckpoint(blocks, await readCheckpointDocument(blocks, cid, signal), signal);
  }

  /** Writes the weights of one parameter into a tensor. Throws `bad_input` on a value that no device may store. */
  async loadWeights(device: Device, { rows, cols, offset }: ParameterSpec, to: Tensor): Promise<void> {
    const size = rows * cols;
    for (let at = 0; at < size; at += pieceMax) {
      const count = Math.min(pieceMax, size - at);
      device.write(to, pf32(await this.weights.read(4 * (offset + at), 4 * count)), at);
    }
  }

  /** Decodes both moments of every parameter. */
  async loadMoments(device: Device, parameters: readonly Parameter[]): Promise<void> {
    const { m, s } = this.files;
    await this.decode(device, m, parameters, (p) => p.m as Tensor, {});
    await this.decode(device, s, parameters, (p) => p.v as Tensor, { halfStep: true, square: true });
  }

  private async decode(
    device: Device,
    file: File,
    parameters: readonly Parameter[],
    target: (parameter: Parameter) => Tensor,
    options: { halfStep?: boolean; square?: boolean },
  ): Promise<void> {
    const reader = new RowsReader(this.blocks, file, this.layout, this.signal);
    await reader.open();
    for (const parameter of parameters) {
      const { rows, cols } = parameter.spec;
      await withRows(device, rows, cols, async (codes, exponents, scope) => {
        await reader.load(scope, parameter.index, codes, exponents);
        const dst = target(parameter);
        await scope.run(
          scope.record((ops) => ops.decodeRows({ codes, exponents, dst, rows, cols, ...options })),
        );
      });
    }
  }
}

/** A file of int8 rows: codes of all parameters, then the exponents of all rows. */
class RowsReader {
  private readonly reader: FileReader;
  private readonly layout: readonly ParameterSpec[];
  private exponents = new Int8Array();

  constructor(blocks: BlockStore, file: File, layout: readonly ParameterSpec[], signal?: AbortSignal) {
    this.reader = new FileReader(blocks, file, elementCount(layout) + rowCount(layout), signal);
    this.layout = layout;
  }

  async open(): Promise<void> {
    const bytes = await this.reader.read(elementCount(this.layout), rowCount(this.layout));
    this.exponents = new Int8Array(bytes.buffer);
    checkExponents(this.exponents);
  }

  /** Packed codes and exponents of one parameter into tensors. */
  async load(device: Device, index: number, codes: Tensor, exponents: Tensor): Promise<void> {
    const spec = this.layout[index] as ParameterSpec;
    const size = spec.rows * spec.cols;
    for (let at = 0; at < size; at += 4 * pieceMax) {
      const count = Math.min(4 * pieceMax, size - at);
      const bytes = await this.reader.read(spec.offset + at, count, 4 * packedWords(count));
      checkCodes(new Int8Array(bytes.buffer));
      device.write(codes, new Uint32Array(bytes.buffer), at / 4);
    }
    const firstRow = rowCount(this.layout.slice(0, index));
    const packed = new Int8Array(4 * packedWords(spec.rows));
    packed.set(this.exponents.subarray(firstRow, firstRow + spec.rows));
    device.write(exponents, new Uint32Array(packed.buffer));
  }
}

/** Lends tensors for one parameter's rows. */
async function withRows<T>(
  device: Device,
  rows: number,
  cols: number,
  use: (codes: Tensor, exponents: Tensor, scope: Device) => Promise<T>,
): Promise<T> {
  const scope = device.scope();
  try {
    return await use(scope.tensor(packedWords(rows * cols)), scope.tensor(packedWords(rows)), scope);
  } finally {
    scope.destroy();
  }
}

/** Encodes tensors into a file of int8 rows, parameter by parameter. */
class RowsWriter {
  private readonly device: Device;
  private readonly writer: FileWriter;
  private readonly exponents: Uint8Array[] = [];

  constructor(device: Device, blocks: BlockStore) {
    this.device = device;
    this.writer = new FileWriter(blocks);
  }

  async add(
    { rows, cols }: ParameterSpec,
    encode: (ops: Ops, to: { codes: Tensor; exponents: Tensor; rows: number; cols: number }) => void,
  ): Promise<void> {
    await withRows(this.device, rows, cols, async (codes, exponents, scope) => {
      await scope.run(scope.record((ops) => encode(ops, { codes, exponents, rows, cols })));
      await this.writer.write(bytesOf(await scope.read(codes), rows * cols));
      this.exponents.push(bytesOf(await scope.read(exponents), rows));
    });
  }

  async finish(): Promise<File> {
    for (const bytes of this.exponents) await this.writer.write(bytes);
    return this.writer.finish();
  }
}

function bytesOf(words: Float32Array, count: number): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, count);
}

/** Writes delta = weights now - weights before, m, and the root of v, as int8 rows. Overwrites the gradients. */
export async function writeTrainingUpdate(
  device: Device,
  blocks: BlockStore,
  parameters: readonly Parameter[],
  before: StoredCheckpoint,
): Promise<Cid> {
  const [delta, m, s] = [
    new RowsWriter(device, blocks),
    new RowsWriter(device, blocks),
    new RowsWriter(device, blocks),
  ];
  for (const { spec, value, grad, m: first, v: second } of parameters) {
    const minus = grad as Tensor;
    await before.loadWeights(device, spec, minus);
    await delta.add(spec, (ops, to) => ops.encodeRows({ src: value, minus, ...to }));
    await m.add(spec, (ops, to) => ops.encodeRows({ src: first as Tensor, ...to }));
    await s.add(spec, (ops, to) => ops.encodeRows({ src: second as Tensor, sqrt: true, ...to }));
  }
  return putUpdateDocument(blocks, {
    v: 1,
    kind: 'update',
    model: before.model,
    delta: await delta.finish(),
    m: await m.finish(),
    s: await s.finish(),
  });
}
