/**
 * The arrows between the parts (docs/ARCHITECTURE.md) and the absence of cycles, checked over every import of the project.
 *
 * Arrows count every import, `import type` and `new URL(..., import.meta.url)` included. A cycle counts only what is loaded: an `import type` is
 * erased and a worker's URL is another program. Tests may import anything; nobody imports tests, scripts, bench, test or examples.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { type Finding, scriptOf, sourceFiles } from './source-files.ts';

export interface Import {
  /** As written. */
  specifier: string;
  line: number;
  /** `type` is erased, `load` is a static or dynamic import, `url` names a file to be started or fetched. */
  kind: 'type' | 'load' | 'url';
}

/** What a part may import of ours, by path. A part that is not listed may import anything but the private folders. */
const arrows: Record<string, RegExp> = {
  protocol: /^protocol\//,
  kernels: /^(protocol|kernels)\//,
  workers: /^(protocol|kernels|workers)\//,
  // Of kernels the reference only: what a unit is, what it costs, and arithmetic on the CPU. Never the registry or a device.
  coordinator:
    /^(protocol|coordinator|contracts\/abi)\/|^kernels\/(model|programs|tensor)\/|^kernels\/ops\/.*(spec|cpu)\.ts$|^kernels\/device\/cpu\.ts$/,
  contracts: /^(protocol|contracts)\//,
  web: /^(protocol|web)\/|^contracts\/abi\/|^workers\/(runtime\/view|browser\/(start|conformance|kept-folder))\.ts$/,
};
/** Nobody but themselves and the tests import these. */
const privateFolders = /^(test|bench|examples|scripts)\//;
const testFile = /\.test\.ts$|(^|\/)testing\/|^web\/e2e\/|^(test|bench|examples|scripts)\//;

const partOf = (file: string): string => file.split('/')[0] as string;

/** Every import of a TypeScript or Svelte file. */
export function importsOf(file: string, text: string): Import[] {
  const source = ts.createSourceFile(file, scriptOf(file, text), ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (literal: ts.Node | undefined, kind: Import['kind']) => {
    if (!literal || !ts.isStringLiteralLike(literal)) return;
    const { line } = source.getLineAndCharacterOfPosition(literal.getStart(source));
    found.push({ specifier: literal.text, line: line + 1, kind });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      add(node.moduleSpecifier, isErased(node.importClause) ? 'type' : 'load');
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'load');
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, 'type');
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], 'load');
    } else if (ts.isNewExpression(node) && node.arguments?.[1]?.getText(source) === 'import.meta.url') {
      add(node.arguments[0], 'url');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** `import type {...}` and `import { type A, type B }` leave nothing behind, but `import './x.ts'` does. */
function isErased(clause: ts.ImportClause | undefined): boolean {
  if (!clause) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  if (clause.name || !named || !ts.isNamedImports(named)) return false;
  return named.elements.length > 0 && named.elements.every((element) => element.isTypeOnly);
}

/** The project file that a specifier names, relative to the root; undefined for a package. */
export function resolveImport(from: string, specifier: string): string | undefined {
  const bare = specifier.replace(/\?.*$/, '');
  if (bare.startsWith('#')) return bare.slice(1);
  if (bare.startsWith('.')) return path.posix.join(path.posix.dirname(from), bare);
  return undefined;
}

/** All faults below `root`: arrows that point the wrong way, imports of nothing, cycles. */
export function checkImports(root: string): Finding[] {
  const files = sourceFiles(root).filter((file) => /\.(ts|mjs|svelte)$/.test(file));
  const graph = new Map(
    files.map((file) => [file, importsOf(file, readFileSync(path.join(root, file), 'utf8'))]),
  );
  const exists = (file: string) => existsSync(path.join(root, file));
  const faults = [...graph].flatMap(([file, imports]) =>
    imports.flatMap((i) => checkArrow(file, i, exists) ?? []),
  );
  return [...faults, ...findCycles(graph)];
}

/** The fault of one import, or null. */
export function checkArrow(file: string, item: Import, exists: (file: string) => boolean): Finding | null {
  const target = resolveImport(file, item.specifier);
  if (target === undefined || target.includes('node_modules/')) return null;
  const fault = (message: string): Finding => ({ file, line: item.line, message });
  if (!exists(target)) return item.kind === 'url' ? null : fault(`${item.specifier} names no file`);
  const [from, to] = [partOf(file), partOf(target)];
  if (from !== to && item.specifier.startsWith('.') && file.includes('/') && target.includes('/')) {
    return fault(`${item.specifier} leaves the part: write #${target}`);
  }
  if (testFile.test(file)) return null;
  if (privateFolders.test(target) && file.includes('/')) return fault(`${to}/ is imported by nobody`);
  if (testFile.test(target) && file.includes('/')) return fault(`${target} is for tests`);
  const allowed = arrows[from];
  if (allowed && target.includes('/') && !allowed.test(target))
    return fault(`${from}/ must not import ${target}`);
  return null;
}

/** One finding for every cycle of loaded imports, by Tarjan's strongly connected components. */
export function findCycles(graph: ReadonlyMap<string, readonly Import[]>): Finding[] {
  const next = (file: string) =>
    (graph.get(file) ?? [])
      .filter((item) => item.kind === 'load')
      .map((item) => resolveImport(file, item.specifier))
      .filter((target): target is string => target !== undefined && graph.has(target));
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const cycles: Finding[] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file) as number);
    stack.push(file);
    for (const target of next(file)) {
      if (!index.has(target)) visit(target);
      if (stack.includes(target)) low.set(file, Math.min(low.get(file) as number, low.get(target) as number));
    }
    if (low.get(file) !== index.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    if (component.length > 1 || next(file).includes(file)) {
      cycles.push({ file, line: 1, message: `cycle of imports: ${component.join(' -> ')} -> ${file}` });
    }
  };
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return cycles;
}
