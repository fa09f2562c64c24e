/** Runs one of the project's tools (a package's own program, by this Node) or any other program, and keeps what it said. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

export const root = path.dirname(import.meta.dirname);

export interface ToolOutcome {
  ok: boolean;
  /** stdout and stderr as they came. */
  output: string;
}

/** The program a package of node_modules names in its `bin`: `package`, or `package/program` where the names differ. */
export function toolPath(tool: string): string {
  const [name = tool, bin = name] = tool.split('/');
  const dir = path.join(root, 'node_modules', name);
  const manifest = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8')) as {
    bin: string | Record<string, string>;
  };
  const file = typeof manifest.bin === 'string' ? manifest.bin : manifest.bin[bin];
  if (!file) throw new Error(`The package ${name} has no program ${bin}.`);
  return path.join(dir, file);
}

/** Runs a tool without a terminal. Never rejects for a tool that fails. */
export function runTool(
  tool: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<ToolOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [toolPath(tool), ...args], {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const stop = () => child.kill();
    process.once('exit', stop);
    let output = '';
    const keep = (chunk: Buffer) => (output += chunk.toString());
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('exit', stop);
      resolve({ ok: code === 0, output });
    });
  });
}
