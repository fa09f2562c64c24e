/**
 * Lets Node import any file as text with `import text from './x.wgsl?raw'`, as Vite does in the page.
 *
 * Load it with `node --import ./scripts/raw-hooks.ts`; worker threads and forked processes inherit that flag.
 * Only the exact query `?raw` is handled, and only for files on disk.
 */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';

const suffix = '?raw';

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (!specifier.endsWith(suffix)) return nextResolve(specifier, context);
    const { url } = nextResolve(specifier.slice(0, -suffix.length), context);
    return { url: url + suffix, format: 'module', shortCircuit: true };
  },
  load(url, context, nextLoad) {
    if (!url.startsWith('file:') || !url.endsWith(suffix)) return nextLoad(url, context);
    const text = readFileSync(fileURLToPath(url.slice(0, -suffix.length)), 'utf8');
    return { format: 'module', source: `export default ${JSON.stringify(text)};`, shortCircuit: true };
  },
});
