/** Where NVRTC is looked for: a file system that is a list of names. */
import path from 'node:path';
import { expect, it } from 'vitest';
import { type Folders, nvrtcCandidates } from './find.ts';
import { findNvrtc } from './nvrtc.ts';

function foldersOf(files: readonly string[]): Folders {
  const isFolder = (folder: string) => files.some((file) => file.startsWith(`${folder}/`));
  return {
    list: (folder) =>
      [
        ...new Set(
          files
            .filter((file) => file.startsWith(`${folder}/`))
            .map((file) => file.slice(folder.length + 1).split('/')[0] as string),
        ),
      ].sort(),
    isFile: (file) => files.includes(file),
    isFolder,
  };
}
const loader = ['libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so'];
const search = (files: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  nvrtcCandidates(env, foldersOf(files), '/home/me');
const names = (base: string, ...files: string[]) => files.map((file) => path.join(base, file));

it('asks the loader first', () => {
  expect(search([])).toEqual(loader);
});

it('looks into toolkits, the newest first, and never takes the builtins or another build for it', () => {
  const files = [
    ...names('/usr/local/cuda-12.9/lib64', 'libnvrtc.so.12', 'libnvrtc-builtins.so.12.9'),
    ...names(
      '/usr/local/cuda-13.0/lib64',
      'libnvrtc.so',
      'libnvrtc.so.13',
      'libnvrtc.alt.so.13',
      'libnvrtc.so.13.0.88',
      'libnvrtc_static.a',
    ),
  ];
  expect(search(files)).toEqual([
    ...loader,
    ...names('/usr/local/cuda-13.0/lib64', 'libnvrtc.so.13', 'libnvrtc.so.13.0.88', 'libnvrtc.so'),
    '/usr/local/cuda-12.9/lib64/libnvrtc.so.12',
  ]);
});

it.each([
  [{}, '/home/me/.local/lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13'],
  [{}, '/usr/local/lib/python3.11/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12'],
  [{ VIRTUAL_ENV: '/srv/venv' }, '/srv/venv/lib/python3.13/site-packages/nvidia/cu13/lib/libnvrtc.so.13'],
  [{ CONDA_PREFIX: '/opt/conda' }, '/opt/conda/lib/libnvrtc.so.12'],
  [{ CUDA_HOME: '/sw/cuda' }, '/sw/cuda/targets/sbsa-linux/lib/libnvrtc.so.13'],
])('with %o finds %s', (env, file) => {
  expect(search([file], env)).toEqual([...loader, file]);
});

it('takes nothing but what ATOLL_NVRTC names, a file or a folder', () => {
  const files = names('/x', 'libnvrtc.so.12', 'libnvrtc.so.13', 'libnvrtc-builtins.so.13.0');
  expect(search(files, { ATOLL_NVRTC: '/x' })).toEqual(names('/x', 'libnvrtc.so.13', 'libnvrtc.so.12'));
  expect(search(files, { ATOLL_NVRTC: '/x/libnvrtc.so.12' })).toEqual(['/x/libnvrtc.so.12']);
});

it('says what to do where there is none', () => {
  expect(() => findNvrtc(13_000, { ATOLL_NVRTC: '/nowhere.so' })).toThrow(
    expect.objectContaining({
      code: 'no_device',
      message: expect.stringContaining('ATOLL_NVRTC names /nowhere.so') as string,
    }),
  );
});
