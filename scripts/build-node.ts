/**
 * Bundles the headless contributor and its threads into plain JavaScript: Node then strips no types at run time, which halves its memory and its start.
 *
 * `ensureNodeBundle()` builds when the sources have changed, into a folder named by their hash, so that a contributor that runs keeps the files it was
 * started from, and two that start at once do not mind each other. Native packages stay outside.
 */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { build, type Plugin } from 'vite';
import { AtollError } from '#protocol/errors.ts';
import { ensureWasm } from './build-wasm.ts';
import { root } from './run-tool.ts';
import { hashOfSources } from './source-files.ts';

const out = path.join(root, 'node_modules/.atoll-node');
const parts = /^(workers|kernels|protocol)\//;
const others = ['package-lock.json', 'scripts/build-node.ts', 'kernels/dist/stamp'];
/** With binaries of their own, or found on disk by themselves. */
const native = ['koffi', 'webgpu', 'node-datachannel', 'secp256k1'];
/** Bundles of earlier sources that are left for who still runs them. */
const keptMax = 3;

/** The program that `workers/node/NAME.ts` becomes, built if need be. Throws `internal` with the builder's words when it fails. */
export async function ensureNodeBundle(name: 'main'): Promise<string> {
  await ensureWasm();
  const folder = path.join(out, hashOfSources(root, parts, others).slice(0, 16));
  if (!existsSync(folder)) await buildInto(folder);
  return path.join(folder, `${name}.js`);
}

/** A bundle of one's own in a folder that stays: for an image. */
export async function copyNodeBundle(folder: string): Promise<void> {
  cpSync(path.dirname(await ensureNodeBundle('main')), folder, { recursive: true });
}

async function buildInto(folder: string): Promise<void> {
  const partial = `${folder}.${process.pid}`;
  try {
    await build({
      configFile: false,
      logLevel: 'error',
      root,
      plugins: [startedFiles()],
      ssr: { noExternal: true, external: native, target: 'node' },
      build: {
        ssr: true,
        ssrEmitAssets: true,
        outDir: partial,
        minify: false,
        target: 'node24',
        rolldownOptions: {
          input: { main: path.join(root, 'workers/node/main.ts') },
          output: { entryFileNames: '[name].js' },
        },
      },
    });
  } catch (cause) {
    rmSync(partial, { recursive: true, force: true });
    throw new AtollError('internal', `The contributor could not be built:\n${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    renameSync(partial, folder);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(folder)) throw error; // else another process was first
  }
  forgetOld();
}

/** `new URL('./x.ts', import.meta.url)` becomes a program of its own, `./x.wasm` a file beside the rest. */
function startedFiles(): Plugin {
  const pattern = /new URL\(\s*['"](\.[^'"]+\.(?:ts|wasm))['"],\s*import\.meta\.url,?\s*\)/g;
  return {
    name: 'atoll-started-files',
    enforce: 'pre',
    transform(code, id) {
      if (code.search(pattern) < 0) return null;
      const replaced = code.replace(pattern, (_, relative: string) => {
        const file = path.resolve(path.dirname(id), relative);
        const name = path.basename(file).replace(/\.ts$/, '');
        const reference = file.endsWith('.ts')
          ? this.emitFile({ type: 'chunk', id: file, name })
          : this.emitFile({ type: 'asset', name, source: readFileSync(file) });
        return `new URL('atoll-file:${reference}:', import.meta.url)`;
      });
      return { code: replaced, map: null };
    },
    generateBundle(_, files) {
      for (const file of Object.values(files)) {
        if (file.type !== 'chunk') continue;
        file.code = file.code.replace(/atoll-file:([^:]+):/g, (_, reference: string) => {
          const place = path.posix.relative(path.posix.dirname(file.fileName), this.getFileName(reference));
          return place.startsWith('.') ? place : `./${place}`;
        });
      }
    },
  };
}

function forgetOld(): void {
  const folders = readdirSync(out).map((name) => path.join(out, name));
  const byAge = folders.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  for (const folder of byAge.slice(keptMax)) rmSync(folder, { recursive: true, force: true });
}
