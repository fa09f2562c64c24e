/**
 * The project's own source files, found by walking the folders (no git needed), and the script of a Svelte component.
 * What is installed, built or generated is left out; so is what starts with a dot.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const skipped = new Set(['node_modules', 'dist', 'artifacts', 'cache', 'coverage']);
const suffixes = ['.ts', '.mjs', '.svelte', '.wgsl', '.cu', '.cuh', '.sol'];

/** Paths relative to `root`, with forward slashes, sorted. */
export function sourceFiles(root: string): string[] {
  const found: string[] = [];
  const walk = (dir: string) => {
    for (const entry of readdirSync(path.join(root, dir), { withFileTypes: true })) {
      if (entry.name.startsWith('.') || skipped.has(entry.name)) continue;
      const file = dir === '' ? entry.name : `${dir}/${entry.name}`;
      if (entry.isDirectory()) walk(file);
      else if (entry.isFile() && suffixes.some((suffix) => entry.name.endsWith(suffix))) found.push(file);
    }
  };
  walk('');
  return found.sort();
}

/** SHA-256 over names and contents of all source files that `parts` matches, tests left out, and of `others` where they exist: what is built from them is up to date. */
export function hashOfSources(root: string, parts: RegExp, others: readonly string[]): string {
  const hash = createHash('sha256');
  const files = sourceFiles(root).filter(
    (file) => parts.test(file) && !/\.test\.ts$|\/(e2e|testing)\//.test(file),
  );
  for (const file of [...files, ...others]) {
    const full = path.join(root, file);
    if (existsSync(full)) hash.update(`${file}\0`).update(readFileSync(full));
  }
  return hash.digest('hex');
}

/** The TypeScript of a file: all of it, or of a component its scripts with every other line left empty, so that line numbers hold. */
export function scriptOf(file: string, text: string): string {
  if (!file.endsWith('.svelte')) return text;
  let inside = false;
  const lines = text.split('\n').map((line) => {
    if (inside && /<\/script>/.test(line)) inside = false;
    else if (inside) return line;
    else if (/<script\b[^>]*>/.test(line)) inside = true;
    return '';
  });
  return lines.join('\n');
}

/** What the checks return: one fault at one place. */
export interface Finding {
  file: string;
  line: number;
  message: string;
}
