/**
 * Finds a Chromium for the tests, and the software GPU (SwiftShader) that ships beside it.
 *
 * Looks at ATOLL_CHROMIUM, at the system, at Playwright's cache; else, as root on Debian, installs the distribution's package. Chromium's
 * SwiftShader also serves Dawn for Node (npm `webgpu`), but only when its loader is on LD_LIBRARY_PATH before the process
 * starts: so what needs it runs in a child process with `swiftshaderEnv()`.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const appPaths = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];
const remedy = 'Install Chromium or Chrome, or set ATOLL_CHROMIUM to its path.';

/** The path of a Chromium that can be started. Throws `unavailable` with the remedy when there is none and none can be installed. */
export async function findChromium(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const named = env['ATOLL_CHROMIUM'];
  if (named) {
    if (isExecutable(named)) return named;
    throw new AtollError('bad_config', `ATOLL_CHROMIUM is ${named}, which is not an executable file.`);
  }
  const found = findInstalled(env);
  if (found) return found;
  await installFromDebian();
  const installed = findInstalled(env);
  if (installed) return installed;
  throw new AtollError('unavailable', `No Chromium was found. ${remedy}`);
}

/** A Chromium that is already there, or undefined. */
export function findInstalled(env: NodeJS.ProcessEnv = process.env): string | undefined {
  const dirs = (env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  const onPath = names.flatMap((name) => dirs.map((dir) => path.join(dir, name)));
  return [...onPath, ...appPaths, ...playwrightBrowsers(env)].find(isExecutable);
}

/** Playwright's own Chromium builds, newest first. */
function playwrightBrowsers(env: NodeJS.ProcessEnv): string[] {
  const home = env['HOME'] ?? homedir();
  const roots = [
    env['PLAYWRIGHT_BROWSERS_PATH'],
    path.join(home, '.cache/ms-playwright'),
    path.join(home, 'Library/Caches/ms-playwright'),
  ].filter((root): root is string => !!root && existsSync(root));
  const inside = [
    'chrome-linux/chrome',
    'chrome-linux64/chrome',
    'chrome-mac/Chromium.app/Contents/MacOS/Chromium',
    'chrome-win/chrome.exe',
  ];
  return roots.flatMap((root) =>
    readdirSync(root)
      .filter((name) => /^chromium-\d+$/.test(name))
      .sort((a, b) => Number(b.slice(9)) - Number(a.slice(9)))
      .flatMap((name) => inside.map((file) => path.join(root, name, file))),
  );
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

async function installFromDebian(): Promise<void> {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) {
    throw new AtollError('unavailable', `No Chromium was found. ${remedy}`);
  }
  process.stderr.write('atoll: no Chromium here; installing Debian’s package (about 400 MB on disk)\n');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [
    ['-o', 'DPkg::Lock::Timeout=120', 'update', '-qq'],
    ['-o', 'DPkg::Lock::Timeout=120', 'install', '-y', '-qq', '--no-install-recommends', 'chromium'],
  ]) {
    const { code, output } = await runQuietly('apt-get', args, env);
    if (code !== 0) {
      throw new AtollError(
        'unavailable',
        `apt-get ${args[2]} failed, so there is no Chromium. ${remedy}\n${output}`,
      );
    }
  }
}

function runQuietly(
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const keep = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2000);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

/**
 * The variables that make Dawn for Node use the SwiftShader beside this Chromium, or undefined when it ships none.
 * Set them before the process starts: the dynamic loader reads LD_LIBRARY_PATH once.
 */
export function swiftshaderEnv(chromiumPath: string): Record<string, string> | undefined {
  // Debian's /usr/bin/chromium is a shell script; the browser and its libraries are in /usr/lib/chromium.
  const dirs = [path.dirname(realpathSync(chromiumPath)), '/usr/lib/chromium', '/usr/lib/chromium-browser'];
  const dir = dirs.find((candidate) => existsSync(path.join(candidate, 'vk_swiftshader_icd.json')));
  if (!dir) return undefined;
  const libraries = [dir, process.env['LD_LIBRARY_PATH']].filter(Boolean).join(path.delimiter);
  return { VK_DRIVER_FILES: path.join(dir, 'vk_swiftshader_icd.json'), LD_LIBRARY_PATH: libraries };
}
