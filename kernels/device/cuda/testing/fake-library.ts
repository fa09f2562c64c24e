/** Compiles fake-cuda.cpp into a driver library, once for each of its texts, and lets a test pull its strings. Needs g++. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import koffi from 'koffi';
import { compiler } from './emulated-compiler.ts';

export interface FakeLibrary {
  readonly file: string;
  reset(): void;
  /** The call of `name` after the next `after` ones gives `code`; one of 700 to 799 is the end of the device. */
  fail(name: string, code: number, after?: number): void;
  set(what: 'devices' | 'notReady' | 'driverVersion' | 'capability' | 'memory', value: number): void;
  count(name: string): number;
  /** How many there are of a kind: memory, pinned, stream, event, module, graph, exec, context. */
  living(kind: string): number;
}

const source = new URL('fake-cuda.cpp', import.meta.url);
/** Where cuda.h is, so that the signatures are held against NVIDIA's own. */
const includes = ['/usr/local/cuda/include', '/usr/local/cuda-13.0/include', '/opt/cuda/include'];

/** Null, and why, where it cannot be compiled. */
export async function fakeLibrary(): Promise<FakeLibrary | { absent: string }> {
  const text = await readFile(source);
  const include = includes.find((folder) => existsSync(path.join(folder, 'cuda.h')));
  const hash = createHash('sha256')
    .update(text)
    .update(include ?? '')
    .digest('hex')
    .slice(0, 16);
  const folder = path.join(tmpdir(), `atoll-fake-cuda-${process.getuid?.() ?? 0}`);
  const file = path.join(folder, `${hash}.so`);
  if (!existsSync(file)) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const half = `${file}.${process.pid}`;
    const checked = include ? ['-DHAVE_CUDA_H', '-I', include] : [];
    const args = ['-std=c++17', '-O1', '-shared', '-fPIC', ...checked, '-o', half, source.pathname];
    try {
      await promisify(execFile)(compiler, args);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { absent: 'g++ is not here' };
      throw error;
    }
    await rename(half, file);
  }
  return strings(file);
}

function strings(file: string): FakeLibrary {
  const library = koffi.load(file);
  const [reset, fail, set, count, living] = [
    library.func('void fake_reset()'),
    library.func('void fake_fail(const char *, int, int)'),
    library.func('void fake_set(const char *, int64_t)'),
    library.func('int fake_count(const char *)'),
    library.func('int fake_living(const char *)'),
  ];
  return {
    file,
    reset: () => void reset(),
    fail: (name, code, after = 0) => void fail(name, code, after),
    set: (what, value) => void set(what, value),
    count: (name) => count(name) as number,
    living: (kind) => living(kind) as number,
  };
}
