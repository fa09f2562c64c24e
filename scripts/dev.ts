/**
 * `npm run dev`: the page from its sources with live reload (Vite), in front of a coordinator. Starts a network like `npm start` and passes options on to
 * it, or uses the one at ATOLL_URL.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root, toolPath } from './run-tool.ts';

const help = `npm run dev -- [options of npm start]

Serves the page from its sources with live reload at http://127.0.0.1:5173, in front of a network that it starts (see npm start -- --help), or in
front of the coordinator at ATOLL_URL, if that is set.`;

const args = process.argv.slice(2);
const children: ChildProcess[] = [];

function launch(command: string[], env: Record<string, string>): void {
  const child = spawn(process.execPath, command, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  children.push(child);
  // One is of no use without the other.
  child.once('exit', (code) => {
    for (const other of children) if (other !== child) other.kill('SIGTERM');
    process.exitCode ||= code ?? 0;
  });
}

if (args.includes('--help')) console.log(help);
else {
  const port = args[args.indexOf('--port') + 1];
  const own = `http://127.0.0.1:${args.includes('--port') && port ? port : (process.env['ATOLL_PORT'] ?? '4400')}`;
  const hooks = pathToFileURL(path.join(root, 'scripts/raw-hooks.ts')).href;
  if (!process.env['ATOLL_URL'])
    launch(['--import', hooks, path.join(root, 'scripts/start.ts'), ...args], {});
  launch([toolPath('vite'), '--clearScreen', 'false'], { ATOLL_URL: process.env['ATOLL_URL'] ?? own });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      for (const child of children) child.kill(signal);
    });
  }
}
