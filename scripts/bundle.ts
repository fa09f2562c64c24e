/**
 * Bundles an entry and what it starts for where TypeScript and WGSL imports are not understood: browsers and Deno. In memory, by Vite; not
 * minified, so that an error names its place. The page itself is built by `build-page.ts`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { build, type Plugin } from 'vite';
import { root } from './run-tool.ts';

/** Every file of a build by its URL path, such as `/worker.js`. */
export type Bundle = ReadonlyMap<string, string | Uint8Array>;

/** `entry` is a path from the repository's root, or an absolute one; it becomes `/NAME.js`. */
export async function bundle(name: string, entry: string, plugins: Plugin[] = []): Promise<Bundle> {
  const output = await build({
    configFile: false,
    logLevel: 'error',
    root,
    plugins,
    worker: { format: 'es' },
    build: {
      write: false,
      minify: false,
      target: 'esnext',
      assetsInlineLimit: 0,
      modulePreload: false,
      rolldownOptions: {
        input: { [name]: path.resolve(root, entry) },
        output: { entryFileNames: '[name].js' },
      },
    },
  });
  const files = [output].flat().flatMap((result) => ('output' in result ? result.output : []));
  return new Map(
    files.map((file) => [`/${file.fileName}`, file.type === 'chunk' ? file.code : file.source] as const),
  );
}

/** Writes a bundle to a folder, with an `index.html` that runs `/NAME.js`: what a coordinator can serve as its page. */
export async function writeBundle(folder: string, name: string, files: Bundle): Promise<void> {
  const index = `<!doctype html><title>${name}</title><script type="module" src="/${name}.js"></script>`;
  for (const [place, body] of [['/index.html', index] as const, ...files]) {
    const file = path.join(folder, place);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, body);
  }
}
