/** What the page's address may ask for. */
import { expect, it } from 'vitest';
import { lackOf, parseOptions } from './options.ts';

it('reads the options, and ignores what it does not know', () => {
  expect(parseOptions('')).toEqual({ allowSoftware: false, backend: 'webgpu', job: null });
  expect(parseOptions('?software=1&backend=reference&job=bafy')).toEqual({
    allowSoftware: true,
    backend: 'reference',
    job: 'bafy',
  });
  expect(parseOptions('?software=yes&backend=cuda&start=1')).toEqual(parseOptions(''));
});

it('knows what a browser lacks without asking it for anything', () => {
  const options = parseOptions('');
  expect(lackOf(options, { isSecureContext: true, hasGpu: true })).toBeNull();
  expect(lackOf(options, { isSecureContext: true, hasGpu: false })).toBe('webgpu');
  expect(lackOf(options, { isSecureContext: false, hasGpu: false })).toBe('secure-context');
  expect(lackOf(parseOptions('?backend=reference'), { isSecureContext: true, hasGpu: false })).toBeNull();
});
