/**
 * Where NVRTC, NVIDIA's compiler for kernels, may be: ATOLL_NVRTC, the loader's own path, the CUDA toolkit, Conda, and the folders of Python's packages (`pip
 * install nvidia-cuda-nvrtc` is the smallest way to get it; no toolkit is needed).
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** The file system as far as it is looked at. */
export interface Folders {
  list(folder: string): string[];
  isFile(file: string): boolean;
  isFolder(folder: string): boolean;
}

export const realFolders: Folders = {
  list: (folder) => (existsSync(folder) ? attempt(() => readdirSync(folder).sort(), []) : []),
  isFile: (file) => attempt(() => statSync(file).isFile(), false),
  isFolder: (folder) => attempt(() => statSync(folder).isDirectory(), false),
};

function attempt<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise; // A folder that may not be read holds nothing for us.
  }
}

/** `libnvrtc.so.13`, `nvrtc64_130_0.dll`; never the builtins or the `alt` build beside them. */
const libraryName = /^(libnvrtc\.so(\.\d+)*|nvrtc64_\d+_\d+\.dll)$/;
/** Asked of the loader itself: LD_LIBRARY_PATH and the system's folders. */
const loaderNames = ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'];

/** Names and files to try, in order, without repetition. ATOLL_NVRTC is the only one where it is set. */
export function nvrtcCandidates(env: NodeJS.ProcessEnv, folders: Folders, home = homedir()): string[] {
  const own = env['ATOLL_NVRTC'];
  if (own) return folders.isFolder(own) ? librariesIn(own, folders) : [own];
  const files = foldersOf(env, folders, home).flatMap((folder) => librariesIn(folder, folders));
  const loader = process.platform === 'win32' ? [] : loaderNames;
  return [...new Set([...loader, ...files])];
}

/** The newest first. */
function librariesIn(folder: string, folders: Folders): string[] {
  const versionOf = (name: string) => Number(/(\d+)/.exec(name.replace('nvrtc64', ''))?.[1] ?? 0);
  return folders
    .list(folder)
    .filter((name) => libraryName.test(name) && folders.isFile(path.join(folder, name)))
    .sort((a, b) => versionOf(b) - versionOf(a) || a.length - b.length)
    .map((name) => path.join(folder, name));
}

function foldersOf(env: NodeJS.ProcessEnv, folders: Folders, home: string): string[] {
  const toolkits = [env['CUDA_HOME'], env['CUDA_PATH'], '/usr/local/cuda', '/opt/cuda'].filter(
    (folder) => folder !== undefined && folder !== '',
  ) as string[];
  const versions = folders.list('/usr/local').filter((name) => /^cuda-\d/.test(name));
  const all = [...toolkits, ...versions.reverse().map((name) => path.join('/usr/local', name))];
  const inToolkit = all.flatMap((folder) =>
    ['lib64', 'lib', 'bin', 'targets/x86_64-linux/lib', 'targets/sbsa-linux/lib'].map((name) =>
      path.join(folder, name),
    ),
  );
  const conda = env['CONDA_PREFIX'];
  const inConda = conda ? [path.join(conda, 'lib')] : [];
  return [...inToolkit, ...inConda, ...pipFolders(env, folders, home)];
}

/** nvidia/cu13/lib since CUDA 13, nvidia/cuda_nvrtc/lib before. */
function pipFolders(env: NodeJS.ProcessEnv, folders: Folders, home: string): string[] {
  const prefixes = [env['VIRTUAL_ENV'], conda(env), path.join(home, '.local'), '/usr/local', '/usr'];
  return prefixes.flatMap((prefix) => {
    if (!prefix) return [];
    const lib = path.join(prefix, 'lib');
    const pythons = folders.list(lib).filter((name) => /^python3(\.\d+)?$/.test(name));
    return pythons.reverse().flatMap((python) =>
      ['site-packages', 'dist-packages'].flatMap((packages) => {
        const nvidia = path.join(lib, python, packages, 'nvidia');
        if (!folders.isFolder(nvidia)) return [];
        const toolkits = folders.list(nvidia).filter((name) => /^cu\d+$/.test(name));
        return [...toolkits.reverse(), 'cuda_nvrtc'].map((name) => path.join(nvidia, name, 'lib'));
      }),
    );
  });
}

const conda = (env: NodeJS.ProcessEnv) => env['CONDA_PREFIX'];
