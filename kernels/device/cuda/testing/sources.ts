/** Every CUDA source of every op: what the modules beside the kernels export, alone or in lists. A `.cu` file that none of them uses is a mistake, and named. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CudaSource } from '../launch.ts';

const ops = fileURLToPath(new URL('../../../ops/', import.meta.url));

export async function allSources(): Promise<{ sources: CudaSource[]; unused: string[] }> {
  const found = new Set<CudaSource>();
  for (const file of globSync('*/{cuda,*-cuda}.ts', { cwd: ops }).sort()) {
    const module = (await import(path.join(ops, file))) as Record<string, unknown>;
    for (const value of Object.values(module).flat()) if (isSource(value)) found.add(value);
  }
  const sources = [...found];
  const used = new Set(sources.flatMap(({ parts }) => parts));
  const unused = globSync('*/*.{cu,cuh}', { cwd: ops }).filter(
    (file) => !used.has(readFileSync(path.join(ops, file), 'utf8')),
  );
  return { sources, unused };
}

function isSource(value: unknown): value is CudaSource {
  const { label, parts } = (value ?? {}) as Partial<CudaSource>;
  return typeof label === 'string' && Array.isArray(parts);
}
