/** What the page's address may ask for. */
import { expect, it } from 'vitest';
import { hasSimd, lackOf, parseOptions } from './options.ts';

it('reads the options, and ignores what it does not know', () => {
  expect(parseOptions('')).toEqual({ allowSoftware: false, backend: 'auto', threads: null, job: null });
  expect(parseOptions('?software=1&backend=reference&threads=16&job=bafy')).toEqual({
    allowSoftware: true,
    backend: 'reference',
    threads: 16,
    job: 'bafy',
  });
  expect(parseOptions('?software=yes&backend=cuda&threads=17&start=1')).toEqual(parseOptions(''));
});

it('knows what a browser lacks without asking it for anything', () => {
  const all = { isSecureContext: true, hasGpu: true, hasSimd: true };
  const lack = (search: string, host: Partial<typeof all>) =>
    lackOf(parseOptions(search), { ...all, ...host });
  expect(lack('', {})).toBeNull();
  expect(lack('', { hasGpu: false })).toBeNull();
  expect(lack('', { hasSimd: false })).toBeNull();
  expect(lack('', { hasGpu: false, hasSimd: false })).toBe('simd');
  expect(lack('?backend=webgpu', { hasGpu: false })).toBe('webgpu');
  expect(lack('?backend=wasm', { hasSimd: false })).toBe('simd');
  expect(lack('', { isSecureContext: false })).toBe('secure-context');
  expect(lack('?backend=reference', { hasGpu: false, hasSimd: false })).toBeNull();
});

it('sees WebAssembly SIMD by a module that is valid only with it', () => {
  expect(hasSimd()).toBe(true);
});
