/**
 * As much of protobuf's wire format as writing an ONNX model takes: varints, strings, bytes and nested messages.
 * Source: protobuf.dev/programming-guides/encoding.
 */

export type Field = Uint8Array[];

const utf8 = new TextEncoder();

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

export function integer(field: number, value: number | bigint): Field {
  return [varint(field << 3), varint(value)];
}

export function float(field: number, value: number): Field {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return [varint((field << 3) | 5), bytes];
}

export function bytes(field: number, value: Uint8Array): Field {
  return [varint((field << 3) | 2), varint(value.byteLength), value];
}

export function text(field: number, value: string): Field {
  return bytes(field, utf8.encode(value));
}

export function message(field: number, parts: readonly Field[]): Field {
  return bytes(field, concat(parts));
}

export function concat(parts: readonly Field[]): Uint8Array {
  const pieces = parts.flat();
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.byteLength;
  }
  return whole;
}
