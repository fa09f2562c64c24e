/**
 * keccak256 as a hundred lines of assembler: keccak-f[1600] works on 64-bit words, which JavaScript has not and WebAssembly has. Fifteen times as fast as
 * @noble/hashes, and three are due for every signature that is checked. The module is put together when this file is loaded.
 *
 * State and output share one memory, so nothing here may wait between writing and reading. Source: FIPS 202, with the padding of Ethereum.
 */

const rounds = 24;
const lanes = 25;
const rateBytes = 136;
const hashBytes = 32;
/** Round constants lie behind the state. */
const constantsAt = 256;

/** The output of the LFSR x^8 + x^6 + x^5 + x^4 + 1, seven bits to a constant. */
function roundConstants(): bigint[] {
  let state = 1;
  const bit = () => {
    const low = state & 1;
    state = state & 0x80 ? ((state << 1) ^ 0x171) & 0xff : state << 1;
    return low;
  };
  return Array.from({ length: rounds }, () => {
    let constant = 0n;
    for (let j = 0; j < 7; j++) if (bit()) constant |= 1n << BigInt(2 ** j - 1);
    return constant;
  });
}

/** By how much rho turns each lane. */
function rotations(): number[] {
  const by = Array.from({ length: lanes }, () => 0);
  let [x, y] = [1, 0];
  for (let t = 0; t < rounds; t++) {
    by[x + 5 * y] = (((t + 1) * (t + 2)) / 2) % 64;
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return by;
}

/** LEB128 of a number that is not negative: unsigned, and as constants have it, where the bit below the last one is the sign. */
const leb = (value: number): number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
const signedLeb = (value: number): number[] =>
  value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signedLeb(value >>> 7)];

const get = (local: number) => [0x20, ...leb(local)];
const set = (local: number) => [0x21, ...leb(local)];
const xor = 0x85;
const load = (offset: number) => [0x29, 3, ...leb(offset)];
const store = (offset: number) => [0x37, 3, ...leb(offset)];
const i32Const = (value: number) => [0x41, ...signedLeb(value)];
const rotate = (by: number) => [0x42, ...signedLeb(by), 0x89];

/** Locals: the lanes a and b, the columns c and d, and where the next round constant is. */
const a = (i: number) => i;
const b = (i: number) => lanes + i;
const c = (x: number) => 2 * lanes + ((x + 5) % 5);
const d = (x: number) => 2 * lanes + 5 + (x % 5);
const pointer = 2 * lanes + 10;

function roundCode(): number[] {
  const by = rotations();
  const code: number[] = [];
  for (let x = 0; x < 5; x++) {
    code.push(...get(a(x)));
    for (let y = 1; y < 5; y++) code.push(...get(a(x + 5 * y)), xor);
    code.push(...set(c(x)));
  }
  for (let x = 0; x < 5; x++) code.push(...get(c(x - 1)), ...get(c(x + 1)), ...rotate(1), xor, ...set(d(x)));
  for (let y = 0; y < 5; y++) {
    for (let x = 0; x < 5; x++) {
      const turned = [...get(a(x + 5 * y)), ...get(d(x)), xor, ...rotate(by[x + 5 * y] as number)];
      code.push(...turned, ...set(b(y + 5 * ((2 * x + 3 * y) % 5))));
    }
  }
  for (let i = 0; i < lanes; i++) {
    const row = i - (i % 5);
    const next = (by: number) => get(b(row + ((i + by) % 5)));
    code.push(...get(b(i)), ...next(1), 0x42, 0x7f, xor, ...next(2), 0x83, xor, ...set(a(i)));
  }
  code.push(...get(a(0)), ...get(pointer), ...load(0), xor, ...set(a(0)));
  return code;
}

function functionCode(): number[] {
  const code: number[] = [];
  for (let i = 0; i < lanes; i++) code.push(...i32Const(0), ...load(8 * i), ...set(a(i)));
  code.push(...i32Const(constantsAt), ...set(pointer));
  code.push(0x03, 0x40, ...roundCode()); // loop
  code.push(...get(pointer), ...i32Const(8), 0x6a, 0x22, ...leb(pointer)); // pointer += 8, and again
  code.push(...i32Const(constantsAt + 8 * rounds), 0x49, 0x0d, 0, 0x0b); // while it is below the end
  for (let i = 0; i < lanes; i++) code.push(...i32Const(0), ...get(a(i)), ...store(8 * i));
  const locals = [2, ...leb(pointer), 0x7e, 1, 0x7f]; // i64 and one i32
  return [...locals, ...code, 0x0b];
}

function moduleBytes(): Uint8Array<ArrayBuffer> {
  const section = (id: number, body: readonly number[]) => [id, ...leb(body.length), ...body];
  const name = (text: string) => [text.length, ...[...text].map((letter) => letter.charCodeAt(0))];
  const body = functionCode();
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, [1, 0x60, 0, 0]), // one type: nothing to nothing
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 1]), // one page of memory
    ...section(7, [2, ...name('f'), 0, 0, ...name('m'), 2, 0]),
    ...section(10, [1, ...leb(body.length), ...body]),
  ]);
}

const instance = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
const permute = instance.exports['f'] as () => void;
const memory = new Uint8Array((instance.exports['m'] as WebAssembly.Memory).buffer);
new BigUint64Array(memory.buffer, constantsAt, rounds).set(roundConstants());

export function keccak256(bytes: Uint8Array): Uint8Array {
  memory.fill(0, 0, 8 * lanes);
  let at = 0;
  for (; bytes.length - at >= rateBytes; at += rateBytes) {
    for (let i = 0; i < rateBytes; i++) memory[i] = (memory[i] as number) ^ (bytes[at + i] as number);
    permute();
  }
  const left = bytes.length - at;
  for (let i = 0; i < left; i++) memory[i] = (memory[i] as number) ^ (bytes[at + i] as number);
  memory[left] = (memory[left] as number) ^ 0x01;
  memory[rateBytes - 1] = (memory[rateBytes - 1] as number) ^ 0x80;
  permute();
  return memory.slice(0, hashBytes);
}
