/** Bundles an entry and what it starts for where TypeScript and WGSL imports are not understood: browsers and Deno. In memory, by Vite. */
import path from 'node:path';
import { build } from 'vite';
import { root } from '../run-tool.ts';

/** Every file of the build by its URL path; the entry is `/NAME.js`. */
export async function bundle(name: string, entry: string): Promise<Map<string, string | Uint8Array>> {
  const output = await build({
    configFile: false,
    logLevel: 'error',
    root,
    worker: { format: 'es' },
    build: {
      write: false,
      minify: false,
      target: 'esnext',
      assetsInlineLimit: 0,
      modulePreload: false,
      rolldownOptions: {
        input: { [name]: path.join(root, entry) },
        output: { entryFileNames: '[name].js' },
      },
    },
  });
  const files = [output].flat().flatMap((result) => ('output' in result ? result.output : []));
  return new Map(
    files.map((file) => [`/${file.fileName}`, file.type === 'chunk' ? file.code : file.source] as const),
  );
}
