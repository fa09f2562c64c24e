/**
 * Canonical DAG-CBOR of the plain case in one pass: a map from short ASCII keys to ASCII text, integers from 0 to 2^32 - 1, or bytes; written, also to
 * null and to larger integers. Most frames are that, and a server handles a dozen for every replica.
 *
 * Both directions know their limits: `null` means that the general codec has to look, never that something is wrong. A test holds both to it.
 */

export type FlatValue = string | number | Uint8Array;

const major = { integer: 0, bytes: 2, text: 3, map: 5 } as const;
const nullByte = 0xf6;
const entriesMax = 23;
const textMax = 512;
/** Key names come from a few schemas; anybody could send others. */
const keysMax = 256;

function headSize(argument: number): number {
  if (argument < 24) return 1;
  if (argument < 0x100) return 2;
  if (argument < 0x10000) return 3;
  return argument < 2 ** 32 ? 5 : 9;
}

function writeWord(out: Uint8Array, at: number, word: number): void {
  for (let i = 0; i < 4; i++) out[at + i] = word >>> (24 - 8 * i);
}

function writeHead(out: Uint8Array, at: number, kind: number, argument: number): number {
  const top = kind << 5;
  if (argument < 24) {
    out[at] = top | argument;
    return at + 1;
  }
  if (argument < 0x100) {
    out[at] = top | 24;
    out[at + 1] = argument;
    return at + 2;
  }
  if (argument < 0x10000) {
    out[at] = top | 25;
    out[at + 1] = argument >>> 8;
    out[at + 2] = argument;
    return at + 3;
  }
  if (argument >= 2 ** 32) {
    out[at] = top | 27;
    writeWord(out, at + 1, Math.floor(argument / 2 ** 32));
    writeWord(out, at + 5, argument >>> 0);
    return at + 9;
  }
  out[at] = top | 26;
  writeWord(out, at + 1, argument);
  return at + 5;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** How DAG-CBOR orders keys: shorter ones first. */
function keyOrder(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

function isFlat(value: unknown): value is FlatValue | null {
  if (typeof value === 'string') return value.length <= textMax && isAscii(value);
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 && !Object.is(value, -0);
  return value === null || value instanceof Uint8Array;
}

function sizeOf(value: FlatValue | null): number {
  if (value === null) return 1;
  if (typeof value === 'number') return headSize(value);
  return headSize(value.length) + value.length;
}

function writeText(out: Uint8Array, at: number, text: string): number {
  const from = writeHead(out, at, major.text, text.length);
  for (let i = 0; i < text.length; i++) out[from + i] = text.charCodeAt(i);
  return from + text.length;
}

function writeValue(out: Uint8Array, at: number, value: FlatValue | null): number {
  if (value === null) {
    out[at] = nullByte;
    return at + 1;
  }
  if (typeof value === 'string') return writeText(out, at, value);
  if (typeof value === 'number') return writeHead(out, at, major.integer, value);
  const from = writeHead(out, at, major.bytes, value.length);
  out.set(value, from);
  return from + value.length;
}

/** The canonical bytes of a flat map; null for anything else. */
export function encodeFlat(map: Readonly<Record<string, unknown>>): Uint8Array | null {
  const keys = Object.keys(map);
  if (keys.length > entriesMax) return null;
  let size = 1;
  for (const key of keys) {
    const value = map[key];
    // By the key `/` the codec tells links.
    if (!isFlat(value) || !isFlat(key) || key === '/') return null;
    size += sizeOf(key) + sizeOf(value);
  }
  keys.sort(keyOrder);
  const out = new Uint8Array(size);
  let at = writeHead(out, 0, major.map, keys.length);
  for (const key of keys) at = writeValue(out, writeText(out, at, key), map[key] as FlatValue | null);
  return out;
}

const knownKeys = new Map<string, string>();

/** One copy of each key, so that the maps of one schema have one hidden class. */
function interned(key: string): string {
  const known = knownKeys.get(key);
  if (known !== undefined) return known;
  if (knownKeys.size < keysMax) knownKeys.set(key, key);
  return key;
}

/** A cursor over one map. `failed` says that the general codec has to look. */
class Reader {
  readonly #bytes: Uint8Array;
  at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.at === this.#bytes.length;
  }

  kind(): number {
    return (this.#bytes[this.at] ?? 0xff) >> 5;
  }

  /** The argument of a head in its shortest form. */
  argument(): number {
    const low = (this.#bytes[this.at++] ?? 0xff) & 31;
    if (low < 24) return low;
    const size = low === 24 ? 1 : low === 25 ? 2 : low === 26 ? 4 : 0;
    let value = 0;
    for (let i = 0; i < size; i++) value = value * 256 + (this.#bytes[this.at++] ?? 0);
    if (size === 0 || headSize(value) !== size + 1) this.failed = true;
    return value;
  }

  text(): string {
    const length = this.argument();
    const end = this.at + length;
    if (length > textMax || end > this.#bytes.length) {
      this.failed = true;
      return '';
    }
    const part = this.#bytes.subarray(this.at, end);
    for (let i = 0; i < length; i++) if ((part[i] as number) > 0x7f) this.failed = true;
    this.at = end;
    return String.fromCharCode.apply(null, part as unknown as number[]);
  }

  value(): FlatValue {
    const kind = this.kind();
    if (kind === major.text) return this.text();
    if (kind === major.integer) return this.argument();
    if (kind !== major.bytes) {
      this.failed = true;
      return 0;
    }
    const length = this.argument();
    const end = this.at + length;
    if (end > this.#bytes.length) this.failed = true;
    const part = this.#bytes.slice(this.at, end);
    this.at = end;
    return part;
  }
}

/** The map in these bytes, if they are a flat one in canonical form; null for anything else. */
export function decodeFlat(bytes: Uint8Array): Record<string, FlatValue> | null {
  const reader = new Reader(bytes);
  if (reader.kind() !== major.map) return null;
  const count = reader.argument();
  if (count > entriesMax) return null;
  const map: Record<string, FlatValue> = {};
  let last = '';
  for (let i = 0; i < count && !reader.failed; i++) {
    if (reader.kind() !== major.text) return null;
    const key = interned(reader.text());
    // `__proto__` would not become a key.
    if ((i > 0 && keyOrder(last, key) >= 0) || key === '__proto__') return null;
    map[key] = reader.value();
    last = key;
  }
  return reader.failed || !reader.isAtEnd ? null : map;
}
