/**
 * House style as a test: sizes of files and functions, headers, names, complete WGSL, and no clock or dice in the pure parts.
 *
 * After tigerbeetle's `src/tidy.zig`. A rule is a function from one file to findings; what other tools check (types, lint, format) is not here.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { type Finding, scriptOf, sourceFiles } from './source-files.ts';

const fileLinesMax = 600;
const functionLinesMax = 70;

/** Generated files, tables of ops and test vectors may be as long as they are. */
const longFiles = [/^contracts\/abi\//, /(^|\/)vectors\//, /(^|\/)op-table\.ts$/];
/** Folders whose logic takes clock, randomness and transport as arguments. */
const pureFolders = /^coordinator\/(scheduler|consensus|ledger|planner)\//;
const impure = new Set([
  'Date.now',
  'Math.random',
  'performance.now',
  'crypto.getRandomValues',
  'process.hrtime',
]);
const impureCalls = new Set(['setTimeout', 'setInterval', 'setImmediate', 'fetch']);

export const isTest = (file: string): boolean => /\.(test|bench)\.ts$/.test(file);
const isCode = (file: string) => /\.(ts|mjs|svelte)$/.test(file);

/** Every fault in the tree below `root`. */
export function tidy(root: string): Finding[] {
  return sourceFiles(root).flatMap((file) => tidyFile(file, readFileSync(path.join(root, file), 'utf8')));
}

/** The faults of one file; `file` is relative to the root, since some rules hold in some folders only. */
export function tidyFile(file: string, text: string): Finding[] {
  const findings = [checkName(file), checkLength(file, text), checkHeader(file, text)].filter(
    (f) => f !== null,
  );
  if (file.endsWith('.wgsl')) findings.push(...checkWgsl(file, text));
  if (isCode(file)) {
    const source = ts.createSourceFile(file, scriptOf(file, text), ts.ScriptTarget.Latest, true);
    findings.push(...checkFunctions(file, source));
    if (pureFolders.test(file) && !isTest(file)) findings.push(...checkPure(file, source));
  }
  return findings;
}

function checkName(file: string): Finding | null {
  const parts = file.split('/');
  const base = parts.pop() as string;
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/;
  // A Solidity file is named after its contract.
  const stem = base.endsWith('.sol') ? '' : base.slice(0, base.indexOf('.'));
  const odd = [...parts, ...(stem ? [stem] : [])].find((part) => !kebab.test(part));
  return odd ? { file, line: 1, message: `${odd} is not kebab-case` } : null;
}

function checkLength(file: string, text: string): Finding | null {
  if (longFiles.some((pattern) => pattern.test(file))) return null;
  const lines = text.replace(/\n$/, '').split('\n').length;
  if (lines <= fileLinesMax) return null;
  return { file, line: fileLinesMax + 1, message: `${lines} lines; ${fileLinesMax} are the most` };
}

/** A file says first what it is. Licence lines and directives do not count. */
function checkHeader(file: string, text: string): Finding | null {
  const lines = text
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^#!|SPDX-License|^pragma |^enable /.test(line));
  let first = (lines[0] ?? '').trim();
  // A component may open with its script and the comment inside it.
  if (file.endsWith('.svelte') && first.startsWith('<script')) first = (lines[1] ?? '').trim();
  if (/^(\/\*|\/\/|<!--)/.test(first)) return null;
  // NatSpec stands above the contract, after the imports.
  if (file.endsWith('.sol') && /^\/\/\/|^\/\*\*/m.test(text)) return null;
  return { file, line: 1, message: 'opens without a comment saying what it is' };
}

function checkWgsl(file: string, text: string): Finding[] {
  return text.split('\n').flatMap((line, index) => {
    if (!/^\s*#/.test(line)) return [];
    return [{ file, line: index + 1, message: 'preprocessor line: a kernel is a complete WGSL file' }];
  });
}

function checkFunctions(file: string, source: ts.SourceFile): Finding[] {
  const findings: Finding[] = [];
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body && !isSuite(node)) {
      const [first, last] = [lineOf(node.getStart(source)), lineOf(node.getEnd())];
      const lines = last - first + 1;
      if (lines > functionLinesMax) {
        const name = nameOf(node, source);
        findings.push({
          file,
          line: first,
          message: `${name} has ${lines} lines; ${functionLinesMax} are the most`,
        });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return findings;
}

/** The callback of `describe` is a folder for tests, not a function. */
function isSuite(node: ts.Node): boolean {
  const call = node.parent;
  return ts.isCallExpression(call) && /^describe\b/.test(call.expression.getText());
}

function nameOf(node: ts.SignatureDeclaration, source: ts.SourceFile): string {
  if (node.name) return node.name.getText(source);
  const { parent } = node;
  return parent && ts.isVariableDeclaration(parent) ? parent.name.getText(source) : 'a function';
}

function checkPure(file: string, source: ts.SourceFile): Finding[] {
  const findings: Finding[] = [];
  const add = (node: ts.Node, what: string) => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    findings.push({ file, line: line + 1, message: `${what} in pure logic: take it as an argument` });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && impure.has(node.getText(source)))
      add(node, node.getText(source));
    if (ts.isCallExpression(node) && impureCalls.has(node.expression.getText(source))) {
      add(node, node.expression.getText(source));
    }
    if (ts.isNewExpression(node) && node.expression.getText(source) === 'Date' && !node.arguments?.length) {
      add(node, 'new Date()');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return findings;
}
