/** The block source against a real HTTP server that answers well, badly, too much and not at all. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cidOfSync, rawCode } from '#protocol/codec/cid.ts';
import { limits } from '#protocol/limits.ts';
import { httpBlocks } from './http-blocks.ts';

const block = new Uint8Array([1, 2, 3]);
const cid = cidOfSync(block, rawCode);
let server: Server;
let url: string;
let answer: (response: ServerResponse) => void;
let asked: { path: string | undefined; accept: string | undefined };
const never = new AbortController().signal;

beforeEach(async () => {
  server = createServer((request, response) => {
    asked = { path: request.url, accept: request.headers.accept };
    answer(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it('asks the gateway for the raw block', async () => {
  answer = (response) => response.end(block);
  expect(await httpBlocks(`${url}/`).fetch(cid, never)).toEqual(block);
  expect(asked).toEqual({ path: `/ipfs/${cid}`, accept: 'application/vnd.ipld.raw' });
});

it.each([
  [404, 'not_found'],
  [503, 'unavailable'],
  [429, 'unavailable'],
])('status %i is %s', async (status, code) => {
  answer = (response) => response.writeHead(status).end('no');
  await expect(httpBlocks(url).fetch(cid, never)).rejects.toMatchObject({ code });
});

it('stops reading a block that is too large, whatever the server says of its length', async () => {
  let written = 0;
  answer = (response) => {
    response.writeHead(200);
    const more = () => {
      while (written < 64 << 20 && !response.destroyed) {
        written += 65_536;
        if (!response.write(new Uint8Array(65_536))) return void response.once('drain', more);
      }
      response.end();
    };
    more();
  };
  await expect(httpBlocks(url).fetch(cid, never)).rejects.toMatchObject({ code: 'too_large' });
  expect(written).toBeLessThan(64 << 20);
  expect(written).toBeGreaterThan(limits.blockBytesMax);
});

it('says unavailable when the answer breaks off or nobody listens', async () => {
  answer = (response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write(block);
    setImmediate(() => response.destroy());
  };
  await expect(httpBlocks(url).fetch(cid, never)).rejects.toMatchObject({ code: 'unavailable' });
  await expect(httpBlocks('http://127.0.0.1:1').fetch(cid, never)).rejects.toMatchObject({
    code: 'unavailable',
  });
});

it('stops when told to', async () => {
  const abort = new AbortController();
  answer = () => abort.abort();
  await expect(httpBlocks(url).fetch(cid, abort.signal)).rejects.toThrow();
});
