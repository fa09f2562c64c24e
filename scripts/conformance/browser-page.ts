/**
 * A page that examines one backend in any browser and posts what it finds back to the server it came from: no driver protocol is needed, so a browser only
 * has to be started with an address. The page is cross-origin isolated, as the coordinator's is.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { HostMessage, HostOptions } from '#kernels/device/conformance-host.ts';
import { bundle } from '../bundle.ts';

const page = `<!doctype html><title>conformance</title><script type="module">
const options = JSON.parse(decodeURIComponent(location.search.slice(1)));
const post = (message) => fetch('/tell', { method: 'POST', body: JSON.stringify(message) });
let told = Promise.resolve();
const tell = (message) => { told = told.then(() => post(message)); };
const worker = new Worker('/worker.js', { type: 'module' });
worker.onerror = (event) => tell({ kind: 'error', reason: 'The worker failed: ' + event.message });
worker.onmessage = ({ data }) => tell(data);
worker.postMessage(options);
</script>`;

const types: Record<string, string> = { '.js': 'text/javascript', '.wasm': 'application/wasm' };

export interface BrowserPage {
  /** Where a browser has to go to examine a backend. */
  address(options: HostOptions): string;
  close(): Promise<void>;
}

export async function serveBrowserPage(tell: (message: HostMessage) => void): Promise<BrowserPage> {
  const files = await bundle('worker', 'workers/browser/conformance.worker.ts');
  const server: Server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    response.setHeader('cross-origin-opener-policy', 'same-origin');
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    if (pathname === '/tell') {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        response.end();
        tell(JSON.parse(body) as HostMessage);
      });
      return;
    }
    const file = files.get(pathname);
    const missing = file === undefined && path.extname(pathname) !== '';
    response.writeHead(missing ? 404 : 200, { 'content-type': types[path.extname(pathname)] ?? 'text/html' });
    response.end(file ?? (missing ? '' : page));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: (options) => `http://127.0.0.1:${port}/?${encodeURIComponent(JSON.stringify(options))}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
