/** Builds the fake management library with g++, where that is. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const hasCompiler = spawnSync('g++', ['--version']).status === 0;

/** The library's path, in `folder`. Throws what g++ said. */
export function buildFakeNvml(folder: string): string {
  const source = fileURLToPath(new URL('./fake-nvml.cpp', import.meta.url));
  const library = path.join(folder, 'libnvidia-ml.so.1');
  const { status, stderr } = spawnSync('g++', ['-shared', '-fPIC', '-O1', '-o', library, source], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return library;
}
