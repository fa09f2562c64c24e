/**
 * Two projects: `unit` beside the sources, in parallel; `e2e` with real browsers and whole networks, one file at a time with longer limits.
 * Every test process gets the raw-import hooks, so that workers which tests start can import WGSL as text too.
 */
import { pathToFileURL } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { configDefaults, defineConfig } from 'vitest/config';

const endToEnd = ['web/e2e/**/*.test.ts', 'test/e2e/**/*.test.ts'];
const hooks = pathToFileURL(new URL('scripts/raw-hooks.ts', import.meta.url).pathname).href;

export default defineConfig({
  // Compiles the page's state classes (*.svelte.ts); everything else passes through.
  plugins: [svelte({ configFile: false })],
  test: {
    globalSetup: './scripts/build-wasm.ts',
    pool: 'forks',
    maxWorkers: 2,
    execArgv: ['--import', hooks],
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['{protocol,kernels,workers,coordinator,web,scripts,bench,test,examples}/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...endToEnd],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: endToEnd,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
