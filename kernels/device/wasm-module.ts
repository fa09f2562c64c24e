/**
 * Finds and compiles the WASM module that scripts/build-wasm.ts builds: a file beside the sources in Node, an asset of the page elsewhere (Vite emits it
 * because of `new URL(..., import.meta.url)`). A page needs 'wasm-unsafe-eval' in its Content-Security-Policy.
 */
import { AtollError } from '#protocol/errors.ts';

/** Every export of wasm-entry.ts: numbers in, nothing out. */
export type Kernels = Record<string, (...args: number[]) => void>;

const urls = {
  single: new URL('../dist/kernels.wasm', import.meta.url),
  threads: new URL('../dist/kernels-threads.wasm', import.meta.url),
};
export type Variant = keyof typeof urls;

const compiled = new Map<Variant, Promise<WebAssembly.Module>>();

/** Throws `no_device` when there is no module, or an engine that cannot run it. */
export function loadModule(variant: Variant): Promise<WebAssembly.Module> {
  let module = compiled.get(variant);
  if (!module) {
    module = compile(urls[variant]).catch((error: unknown) => {
      compiled.delete(variant);
      throw new AtollError('no_device', explain(error), { cause: error });
    });
    compiled.set(variant, module);
  }
  return module;
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  if (url.protocol === 'file:') {
    const { readFile } = process.getBuiltinModule('node:fs/promises');
    return WebAssembly.compile(await readFile(url));
  }
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: HTTP ${response.status}`);
  // Not compileStreaming: a server that does not know the media type must not matter.
  return WebAssembly.compile(await response.arrayBuffer());
}

function explain(error: unknown): string {
  if (error instanceof WebAssembly.CompileError) {
    return 'This browser cannot run WebAssembly SIMD. It is in Chrome and Edge 91+, Firefox 89+ and Safari 16.4+.';
  }
  if ((error as { code?: unknown } | null)?.code === 'ENOENT') {
    return 'The WebAssembly kernels are not built. Run `node scripts/build-wasm.ts`.';
  }
  return 'The WebAssembly kernels could not be loaded. Check the connection, then reload the page.';
}
