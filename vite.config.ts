/**
 * Builds the page: web/index.html into web/dist, which the coordinator serves as plain files.
 *
 * Everything is fetched from the page's own origin and nothing is inlined, so that a strict Content-Security-Policy can hold:
 * no data: URLs, no inline scripts. Workers are ES modules, because they import the kernels as the rest does.
 */
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { ensureWasm } from './scripts/build-wasm.ts';

const fromHere = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const coordinator = process.env['ATOLL_URL'] ?? 'http://127.0.0.1:4400';

/** The development server finds a page's folder by its slash; the coordinator finds it without. */
function toFolder(request: { url?: string | undefined }, _response: unknown, next: () => void): void {
  if (request.url === '/conformance') request.url = '/conformance/';
  next();
}

export default defineConfig({
  root: 'web',
  // The page's WASM kernels are an asset that has to be there first.
  plugins: [
    svelte({ configFile: false }),
    { name: 'atoll-wasm', buildStart: async () => void (await ensureWasm()) },
    { name: 'atoll-pages', configureServer: ({ middlewares }) => void middlewares.use(toFolder) },
  ],
  worker: { format: 'es' },
  build: {
    target: 'esnext',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ['web/index.html', 'web/conformance/index.html'].map(fromHere) },
  },
  server: {
    host: '127.0.0.1',
    // As the coordinator does: WebAssembly threads need an isolated page.
    headers: {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    },
    fs: { allow: ['..'] },
    proxy: {
      // The coordinator answers to its own name only.
      '/v1': { target: coordinator, ws: true, changeOrigin: true },
      '/ipfs': { target: coordinator, changeOrigin: true },
      '/docs': { target: coordinator, changeOrigin: true },
      '/openapi.json': { target: coordinator, changeOrigin: true },
    },
  },
});
