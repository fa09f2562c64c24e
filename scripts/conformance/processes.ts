/** Backends in processes: started with a driver's environment, heard line by line, ended when they have reported or take too long. */
import { spawn } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { HostMessage } from '#kernels/device/conformance-host.ts';
import type { BackendReport } from '#kernels/device/conformance-outcome.ts';
import { AtollError } from '#protocol/errors.ts';
import { root } from '../run-tool.ts';
import { bundle } from '../bundle.ts';
import type { NodeHostOptions } from './node-entry.ts';
import type { RunContext } from './targets.ts';

/** Something to run on is not installed: other than a program that is there and finds no adapter. */
export function notInstalled(message: string): AtollError {
  return new AtollError('no_device', message, { details: { notInstalled: true } });
}

/** A message as progress, a result, or an error. */
export function takeMessage(
  message: HostMessage,
  context: RunContext,
  { resolve, reject }: Pick<PromiseWithResolvers<BackendReport>, 'resolve' | 'reject'>,
): void {
  if (message.kind === 'progress') context.progress(message.done, message.total, message.outcome);
  else if (message.kind === 'report') resolve(message.report);
  else reject(new AtollError(message.kind === 'absent' ? 'no_device' : 'internal', message.reason));
}

/** Throws `no_device` or `internal`. */
export async function runInNode(
  options: NodeHostOptions,
  env: Record<string, string>,
  context: RunContext,
): Promise<BackendReport> {
  const hooks = pathToFileURL(path.join(root, 'scripts/raw-hooks.ts')).href;
  const entry = path.join(root, 'scripts/conformance/node-entry.ts');
  return runProcess(process.execPath, ['--import', hooks, entry, JSON.stringify(options)], env, context);
}

/** Throws `no_device` or `internal`. */
export async function runInDeno(env: Record<string, string>, context: RunContext): Promise<BackendReport> {
  const deno = findDeno();
  if (!deno) throw notInstalled('Deno is not here: it is the npm package `deno`.');
  const dir = await mkdtemp(path.join(tmpdir(), 'atoll-deno-'));
  try {
    for (const [name, body] of await bundle('deno', 'scripts/conformance/deno-entry.ts')) {
      await mkdir(path.dirname(path.join(dir, name)), { recursive: true });
      await writeFile(path.join(dir, name), body);
    }
    const flags = ['run', '--quiet', '--unstable-webgpu', '--no-config', `--allow-read=${dir}`];
    return await runProcess(
      deno,
      [...flags, path.join(dir, 'deno.js')],
      { ...env, DENO_NO_UPDATE_CHECK: '1' },
      context,
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** The binary itself: packages are installed without their install scripts. */
function findDeno(): string | undefined {
  const onPath = (process.env['PATH'] ?? '').split(path.delimiter).map((dir) => path.join(dir, 'deno'));
  const here = globSync(path.join(root, 'node_modules/@deno/*/deno{,.exe}'));
  return [...here, ...onPath].find(existsSync);
}

async function runProcess(
  command: string,
  args: string[],
  env: Record<string, string>,
  context: RunContext,
): Promise<BackendReport> {
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.withResolvers<BackendReport>();
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => (words = (words + chunk.toString()).slice(-2000)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{')) takeMessage(JSON.parse(line) as HostMessage, context, ended);
  });
  child.on('error', (cause) =>
    ended.reject(new AtollError('no_device', `${command} does not start.`, { cause })),
  );
  child.on('close', (code, signal) =>
    ended.reject(new AtollError('internal', `It ended with ${signal ?? code}: ${words.trim()}`)),
  );
  const stop = () => ended.reject(context.signal.reason);
  context.signal.addEventListener('abort', stop, { once: true });
  try {
    return await ended.promise;
  } finally {
    context.signal.removeEventListener('abort', stop);
    child.kill('SIGKILL');
  }
}
