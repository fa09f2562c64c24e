/** The control socket on a real disk: who may speak, what is refused, one node to a name, what a killed node leaves. */
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { ask, statusOf } from './client.ts';
import { type NodeStatus, type Question, questionBytesMax } from './messages.ts';
import { type ControlServer, openControl } from './server.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const status: NodeStatus = {
  ...{ name: 'n', pid: 1, version: '0', url: 'http://127.0.0.1', backend: 'wasm', startedAt: '' },
  ...{ uptimeSeconds: 1, draining: false, held: [], phase: 'waiting', reason: 'Asking.', contributor: null },
  ...{ device: null, unit: null, pending: 0, agreed: 0, rejected: 0, credit: 0, bytesDown: 0, bytesUp: 0 },
  problem: null,
};

let dir: string;
let open: ControlServer[];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-sock-'));
  open = [];
});
afterEach(async () => {
  for (const server of open) await server.close();
  await rm(dir, { recursive: true, force: true });
});

async function start(name = 'n', at = dir): Promise<{ server: ControlServer; asked: Question[] }> {
  const server = await openControl(at, name, log);
  open.push(server);
  const asked: Question[] = [];
  server.serve((question) => {
    asked.push(question);
    return status;
  });
  return { server, asked };
}

/** Writes as it is and reads to the end. */
function say(text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path.join(dir, 'n.sock'), () => socket.write(text));
    let heard = '';
    socket.on('data', (chunk) => (heard += chunk.toString()));
    socket.on('error', () => {});
    socket.on('close', () => resolve(heard));
  });
}

describe('the control socket', () => {
  it('is for its owner only, answers, and is gone afterwards', async () => {
    const { server, asked } = await start();
    expect((await stat(path.join(dir, 'n.sock'))).mode & 0o777).toBe(0o600);
    expect(await ask(dir, 'n', { command: 'pause' })).toEqual(status);
    expect(asked).toEqual([{ command: 'pause' }]);
    expect(await readdir(dir)).toEqual(['n.sock']);
    await server.close();
    expect(await readdir(dir)).toEqual([]);
    expect(await statusOf(dir, 'n')).toBeNull();
  });

  it('says that the node starts until it can answer', async () => {
    open.push(await openControl(dir, 'n', log));
    await expect(ask(dir, 'n', { command: 'status' })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('passes on why a command was refused', async () => {
    const { server } = await start();
    server.serve(() => {
      throw new AtollError('conflict', 'It is stopping.');
    });
    await expect(ask(dir, 'n', { command: 'resume' })).rejects.toMatchObject({ code: 'conflict' });
  });

  it.each([
    ['no JSON', 'hello\n'],
    ['another command', '{"command":"explode"}\n'],
    ['no object', '[]\n'],
    ['a line without end', 'x'.repeat(questionBytesMax + 1)],
    ['a line that is too long', `{"command":"status","x":"${'x'.repeat(questionBytesMax)}"}\n`],
  ])('refuses %s', async (_what, text) => {
    const { asked } = await start();
    expect(JSON.parse(await say(text))).toMatchObject({ ok: false, problem: { code: 'bad_request' } });
    expect(asked).toEqual([]);
  });

  it('refuses a second node of the name, whoever comes first, and takes another name', async () => {
    const results = await Promise.allSettled([start(), start(), start()]);
    const refused = results.filter(({ status: outcome }) => outcome === 'rejected');
    expect(refused).toHaveLength(2);
    for (const one of refused) {
      expect((one as PromiseRejectedResult).reason).toMatchObject({
        code: 'conflict',
        message: expect.stringMatching(/--name/),
      });
    }
    await start('m');
    expect(await readdir(dir)).toEqual(['m.sock', 'n.sock']);
  });

  it('takes the place of a socket that nobody listens on any more', async () => {
    // Linked away, as a kill leaves it: the server unlinks only its own name.
    const { link } = await import('node:fs/promises');
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(path.join(dir, 'dead'), resolve));
    await link(path.join(dir, 'dead'), path.join(dir, 'n.sock'));
    await new Promise<void>((resolve) => dead.close(() => resolve()));
    expect(await statusOf(dir, 'n')).toBeNull();
    await start();
    expect(await ask(dir, 'n', { command: 'status' })).toEqual(status);
  });

  it('does not remove what is no socket', async () => {
    await writeFile(path.join(dir, 'n.sock'), 'precious');
    await expect(start()).rejects.toMatchObject({ code: 'bad_config' });
    expect(await readdir(dir)).toEqual(['n.sock']);
  });

  it.skipIf(process.platform !== 'linux')(
    'works in a folder whose path is too long for a socket',
    async () => {
      const deep = path.join(dir, 'd'.repeat(60), 'e'.repeat(60));
      await mkdir(deep, { recursive: true });
      await start('n', deep);
      expect(await ask(deep, 'n', { command: 'status' })).toEqual(status);
      await expect(start('n', deep)).rejects.toMatchObject({ code: 'conflict' });
    },
  );
});
