/**
 * The peers: exact versions in a package.json and a lockfile of their own, installed when a suite first asks for them. They are no dependency of the
 * project. `peersDir` is also served to pages, for the peers' own .wasm files.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const peersDir = fileURLToPath(new URL('.', import.meta.url));
const file = (name: string) => path.join(peersDir, name);

/** npm's program beside this Node, beside the Node that `npm run` brought, or on the path. */
function findNpm(): string {
  const bin = path.dirname(process.execPath);
  const folders = (process.env['PATH'] ?? '').split(path.delimiter);
  const candidates = [
    process.env['npm_execpath'] ?? '',
    path.join(bin, '../lib/node_modules/npm/bin/npm-cli.js'),
    path.join(bin, '../../npm/bin/npm-cli.js'),
    path.join(bin, 'node_modules/npm/bin/npm-cli.js'),
    ...folders.map((dir) => path.join(dir, '../lib/node_modules/npm/bin/npm-cli.js')),
  ];
  const found = candidates.find((candidate) => candidate.endsWith('npm-cli.js') && existsSync(candidate));
  if (!found) throw new Error('npm was not found: run `npm ci --prefix bench/peers` once.');
  return found;
}

/** Installs what the lockfile says unless it is there already. Returns the versions of the packages that package.json names. */
export function ensurePeers(say: (line: string) => void): Record<string, string> {
  const { dependencies } = JSON.parse(readFileSync(file('package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const wanted = createHash('sha256')
    .update(readFileSync(file('package-lock.json')))
    .digest('hex');
  const stamp = file('node_modules/.atoll-installed');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return dependencies;
  say(
    'installing the peers of bench/peers (about 240 MB): jax-js, tfjs and onnxruntime-web, to measure against',
  );
  const options = ['--ignore-scripts', '--no-audit', '--no-fund'];
  const { status, stderr } = spawnSync(process.execPath, [findNpm(), 'ci', ...options], {
    cwd: peersDir,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The peers could not be installed.\n${stderr}`);
  writeFileSync(stamp, wanted);
  return dependencies;
}
