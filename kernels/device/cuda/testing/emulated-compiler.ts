/**
 * Makes a CUDA source a shared library of this processor, with g++: the `.cu` text as it is, after cuda-on-cpu.h. For tests only.
 *
 * Libraries are kept in the temporary folder by the hash of all that goes into them, and put there whole (renamed), so that processes may share them.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { threadId } from 'node:worker_threads';
import { AtollError } from '#protocol/errors.ts';
import type { CudaSource } from '../launch.ts';

/** scripts/services/install.ts looks for the same, and installs it for `npm test`. */
export const compiler = process.env['ATOLL_CXX'] || 'g++';
const flags = [
  '-std=c++17',
  '-O2',
  // Float arithmetic as written; what CUDA code may do with pointers.
  ...['-ffp-contract=off', '-fno-strict-aliasing'],
  // Shared variables, and nothing else, lie in .bss, one set per library.
  ...['-fvisibility=hidden', '-fno-gnu-unique', '-fno-zero-initialized-in-bss', '-nostartfiles'],
  ...['-fno-exceptions', '-fno-rtti', '-fno-asynchronous-unwind-tables', '-fno-stack-protector'],
  ...['-fsanitize=bounds,shift-exponent,integer-divide-by-zero', '-fno-sanitize-recover=all'],
  ...['-w', '-fPIC', '-shared', '-x', 'c++'],
];
const headers = ['cuda-on-cpu.h', 'fibers.h', 'checks.h', 'tensor-on-cpu.h'];
const folder = fileURLToPath(new URL('.', import.meta.url));
/** Every access of a kernel goes through checks.h; lines for its messages. */
const checkFlags = [
  ...['-DEMULATION_CHECKED', '-g1', '-fsanitize=thread', '--param=tsan-instrument-func-entry-exit=0'],
];

/** Why CUDA sources cannot be emulated here, or null when they can. */
export function whyNoCompiler(): string | null {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch))
    return `the CUDA emulation runs on Linux with x86-64 or arm64, not ${process.platform} ${process.arch}`;
  const { status } = spawnSync(compiler, ['--version'], { stdio: 'ignore' });
  return status === 0 ? null : `the CUDA emulation needs ${compiler}, which is not installed`;
}

/** Whether CUDA sources can be emulated here; prints why not. */
export function haveCompiler(): boolean {
  const reason = whyNoCompiler();
  if (reason) console.log(`skipped: ${reason}`);
  return reason === null;
}

/** What is being compiled in this process, by its path. */
const underWay = new Map<string, Promise<void>>();

/** Path of the library of a source; `checked`: with the checks of checks.h. Throws `internal` with the compiler's words. */
export async function compileForCpu(
  source: CudaSource,
  entries: readonly string[],
  checked = false,
): Promise<string> {
  const text = wholeText(source, entries);
  const options = [...flags, ...(checked ? checkFlags : [])];
  const own = await Promise.all(headers.map((name) => readFile(join(folder, name), 'utf8')));
  const hash = createHash('sha256').update(JSON.stringify([options, text, own]));
  const kept = join(tmpdir(), `atoll-emulated-cuda-${userInfo().uid}`);
  const path = join(kept, `${hash.digest('hex').slice(0, 32)}.so`);
  if (existsSync(path)) return path;
  await mkdir(kept, { recursive: true, mode: 0o700 });
  const job = underWay.get(path) ?? make(source.label, text, options, path);
  underWay.set(path, job);
  await job.finally(() => underWay.delete(path));
  return path;
}

async function make(label: string, text: string, options: readonly string[], path: string): Promise<void> {
  const own = `${path.slice(0, -3)}.${process.pid}.${threadId}`;
  try {
    await writeFile(`${own}.cpp`, text);
    const libraries = ['-nodefaultlibs', '-lm', '-lc', '-lgcc'];
    await compile(label, [...options, '-I', folder, '-o', `${own}.so`, `${own}.cpp`, ...libraries]);
    await rename(`${own}.so`, path);
  } finally {
    await Promise.all(['.cpp', '.so'].map((end) => rm(own + end, { force: true })));
  }
}

/** Where an address of a checked library lies: `quantize.cu:12`, or nothing where there is no addr2line. */
export function lineOf(path: string, offset: string): string {
  const { stdout } = spawnSync('addr2line', ['-e', path, offset], { encoding: 'utf8' });
  return basename((stdout ?? '').split(' (')[0]?.trim() ?? '');
}

async function compile(label: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)(compiler, args, { maxBuffer: 16 * 2 ** 20 });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr || String(error);
    throw new AtollError(
      'internal',
      `${label}.cu does not compile for the emulation:\n${said.slice(0, 4000)}`,
    );
  }
}

function wholeText(source: CudaSource, entries: readonly string[]): string {
  const last = source.parts.length - 1;
  const parts = source.parts.map((part, i) => {
    const name = i === last ? `${source.label}.cu` : `${source.label}.cu, header ${i + 1}`;
    return `#line 1 "${name}"\n${dynamicShared(part)}`;
  });
  const bounds = launchBounds(source.parts.join('\n'));
  for (const entry of entries) if (!bounds.has(entry)) bounds.set(entry, '1024');
  const kernels = [...bounds].map(([entry, most]) => `EMULATION_ENTRY(${entry}, ${most})`);
  return ['#include "cuda-on-cpu.h"', ...parts, '#line 1 "entries"', ...kernels, ''].join('\n');
}

/** `extern __shared__ T name[];` has no meaning for g++: a pointer instead, on the same line. */
function dynamicShared(text: string): string {
  return text.replace(
    /extern\s+__shared__\s+(?:(?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?([\w:\s]+?)\s*\b(\w+)\s*\[\s*\]\s*;/g,
    (whole, type: string, name: string) =>
      `ATOLL_DYNAMIC_SHARED(${type}, ${name})${whole.replace(/[^\n]/g, '')}`,
  );
}

/** Kernels of a text and the most threads of a block that each says it takes. */
function launchBounds(text: string): Map<string, string> {
  const plain = text.replace(/\/\/.*|\/\*[^]*?\*\//g, '');
  const found = new Map<string, string>();
  const kernel =
    /extern\s+"C"\s+__global__\s+(?:void\s+)?(?:__launch_bounds__\s*\(([^,()]+)[^()]*\)\s*)?(?:void\s+)?(\w+)\s*\(/g;
  for (const [, most, entry] of plain.matchAll(kernel)) found.set(entry as string, most?.trim() ?? '1024');
  return found;
}
