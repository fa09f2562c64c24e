/**
 * Writes ONNX models: nodes, attributes, initialisers (inside the model or as external data), typed inputs and outputs.
 * Field numbers are those of onnx/onnx.proto; opset 20, IR version 9.
 */
import { bytes, concat, type Field, float, integer, message, text } from './protobuf.ts';

export type Attribute = number | string | { float: number } | readonly number[];
export type Dimension = number | string;
export type DataType = 'f32' | 'i64';

const dataTypes: Record<DataType, number> = { f32: 1, i64: 7 };
const [attributeFloat, attributeInt, attributeString, attributeInts] = [1, 2, 3, 7];

/** Collects a graph. Names are the caller's; `node` returns the name of the first output. */
export class OnnxGraph {
  private readonly nodes: Field[] = [];
  private readonly initialisers: Field[] = [];
  private readonly inputs: Field[] = [];
  private readonly outputs: Field[] = [];
  private count = 0;

  node(
    type: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
    outputs: readonly string[] = [`t${++this.count}`],
  ): string {
    this.nodes.push(
      message(1, [
        ...inputs.map((name) => text(1, name)),
        ...outputs.map((name) => text(2, name)),
        text(3, `n${this.nodes.length}`),
        text(4, type),
        ...Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      ]),
    );
    return outputs[0] as string;
  }

  input(name: string, type: DataType, shape: readonly Dimension[]): string {
    this.inputs.push(message(11, valueInfo(name, type, shape)));
    return name;
  }

  output(name: string, type: DataType, shape: readonly Dimension[]): void {
    this.outputs.push(message(12, valueInfo(name, type, shape)));
  }

  /** A small constant inside the model. */
  constant(values: readonly number[], type: DataType, shape: readonly number[] = [values.length]): string {
    const name = `c${++this.count}`;
    const raw = type === 'f32' ? Float32Array.from(values).buffer : BigInt64Array.from(values, BigInt).buffer;
    this.initialisers.push(message(5, [...tensorHead(name, type, shape), bytes(9, new Uint8Array(raw))]));
    return name;
  }

  /** A tensor whose bytes lie in an external file. */
  external(name: string, shape: readonly number[], location: string, offset: number, length: number): string {
    const entry = (key: string, value: string) => message(13, [text(1, key), text(2, value)]);
    this.initialisers.push(
      message(5, [
        ...tensorHead(name, 'f32', shape),
        entry('location', location),
        entry('offset', String(offset)),
        entry('length', String(length)),
        integer(14, 1),
      ]),
    );
    return name;
  }

  model(): Uint8Array {
    const graph = [...this.nodes, text(2, 'graph'), ...this.initialisers, ...this.inputs, ...this.outputs];
    return concat([
      integer(1, 9),
      text(2, 'atoll-bench'),
      message(7, graph),
      message(8, [text(1, ''), integer(2, 20)]),
    ]);
  }
}

function tensorHead(name: string, type: DataType, shape: readonly number[]): Field[] {
  return [...shape.map((size) => integer(1, size)), integer(2, dataTypes[type]), text(8, name)];
}

function attribute(name: string, value: Attribute): Field {
  if (typeof value === 'number') {
    return message(5, [text(1, name), integer(3, value), integer(20, attributeInt)]);
  }
  if (typeof value === 'string') {
    return message(5, [text(1, name), text(4, value), integer(20, attributeString)]);
  }
  if ('float' in value) {
    return message(5, [text(1, name), float(2, value.float), integer(20, attributeFloat)]);
  }
  return message(5, [text(1, name), ...value.map((item) => integer(8, item)), integer(20, attributeInts)]);
}

function valueInfo(name: string, type: DataType, shape: readonly Dimension[]): Field[] {
  const dimensions = shape.map((size) =>
    message(1, [typeof size === 'number' ? integer(1, size) : text(2, size)]),
  );
  return [text(1, name), message(2, [message(1, [integer(1, dataTypes[type]), message(2, dimensions)])])];
}
