/**
 * Compiles kernels/device/wasm-entry.ts (AssemblyScript) into kernels/dist/: kernels.wasm, and kernels-threads.wasm for shared memory.
 *
 * `node scripts/build-wasm.ts`, or `ensureWasm()` from whatever needs the files: tests, the page's build, `npm start`. A stamp of the sources and the
 * compiler's version spares the two or three seconds when nothing has changed. Optimisation stays at level 1: above it, Binaryen moves the loads of an
 * unrolled product together and V8 then spills registers (measured: 72 instead of 84 GOP/s).
 */
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const out = path.join(root, 'kernels/dist');
const entry = 'kernels/device/wasm-entry.ts';
const flags = [
  '-O1',
  '--noAssert',
  '--runtime',
  'stub',
  '--enable',
  'simd',
  '--importMemory',
  '--noExportMemory',
];
const variants = {
  'kernels.wasm': [],
  // Any memory may be given that is no larger than this, 4 GiB.
  'kernels-threads.wasm': [
    '--enable',
    'threads',
    '--sharedMemory',
    '--initialMemory',
    '1',
    '--maximumMemory',
    '65536',
  ],
};

/** Files whose text decides the outcome, relative to the root. */
function sources(): string[] {
  return [entry, ...globSync('kernels/{ops,tensor}/**/wasm.ts', { cwd: root })].sort();
}

function stampOf(): string {
  const hash = createHash('sha256').update(JSON.stringify([flags, variants]));
  const compiler = createRequire(import.meta.url).resolve('assemblyscript/package.json');
  hash.update((JSON.parse(readFileSync(compiler, 'utf8')) as { version: string }).version);
  for (const file of sources()) hash.update(`\0${file}\0`).update(readFileSync(path.join(root, file)));
  return hash.digest('hex');
}

/** Builds what is missing or stale; safe to call from several processes at once. Returns whether it built. */
export async function ensureWasm(extra: readonly string[] = []): Promise<boolean> {
  const stampFile = path.join(out, 'stamp');
  const stamp = stampOf() + extra.join(' ');
  const files = [stampFile, ...Object.keys(variants).map((name) => path.join(out, name))];
  if (files.every(existsSync) && readFileSync(stampFile, 'utf8') === stamp) return false;
  mkdirSync(out, { recursive: true });
  for (const [name, own] of Object.entries(variants)) await compile(name, [...own, ...extra]);
  writeWhole(stampFile, stamp);
  return true;
}

/** A reader sees the old file or the new one, never half of it. */
function writeWhole(file: string, contents: string | Uint8Array): void {
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, contents);
  renameSync(partial, file);
}

async function compile(name: string, own: readonly string[]): Promise<void> {
  const { default: asc } = await import('assemblyscript/asc');
  const { error, stderr } = await asc.main([entry, ...flags, ...own, '--outFile', name], {
    readFile: (file, baseDir) => {
      // Imports carry their .ts here, as everywhere; the compiler adds its own.
      const full = path.resolve(root, baseDir, file.replace(/\.ts\.ts$/, '.ts'));
      return existsSync(full) ? readFileSync(full, 'utf8') : null;
    },
    writeFile: (file, contents) => {
      writeWhole(path.join(out, path.basename(file)), contents);
    },
    listFiles: () => [],
  });
  const said = stderr.toString();
  if (error || said) throw new Error(`AssemblyScript failed on ${name}.\n${said}`, { cause: error });
}

/** Vitest's `globalSetup`. */
export async function setup(): Promise<void> {
  await ensureWasm();
}

if (import.meta.main) {
  // `--debug` keeps function names for a profiler.
  const extra = process.argv.includes('--debug') ? ['--debug'] : [];
  const built = await ensureWasm(extra);
  process.stderr.write(built ? `built ${out}\n` : `${out} is up to date\n`);
}
