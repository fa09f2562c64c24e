/** Calls between threads over a real message channel. */
import { MessageChannel } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AtollError } from '#protocol/errors.ts';
import { Rpc } from './rpc.ts';

interface Server {
  add(a: number, b: number): number;
  fail(): void;
  crash(): void;
  sleep(): Promise<void>;
}

let channel: MessageChannel;
let client: Rpc<Server>;
beforeEach(() => {
  channel = new MessageChannel();
  new Rpc(channel.port1, {
    add: (a: number, b: number) => a + b,
    fail: () => {
      throw new AtollError('bad_input', 'The input is bad.', { details: { at: 3 } });
    },
    crash: () => {
      throw new TypeError('a secret of the inside');
    },
    sleep: () => new Promise(() => {}),
  });
  client = new Rpc<Server>(channel.port2, {});
});
afterEach(() => channel.port1.close());

describe('Rpc', () => {
  it('answers calls, side by side', async () => {
    expect(await Promise.all([client.call('add', 1, 2), client.call('add', 3, 4)])).toEqual([3, 7]);
  });

  it('carries our errors with their code, and others as internal with the stack as cause', async () => {
    await expect(client.call('fail')).rejects.toMatchObject({ code: 'bad_input', details: { at: 3 } });
    await expect(client.call('crash')).rejects.toMatchObject({
      code: 'internal',
      message: expect.not.stringContaining('secret'),
      cause: expect.stringContaining('secret'),
    });
  });

  it('refuses methods that are not offered, inherited ones included', async () => {
    for (const method of ['toString', 'constructor', 'nothing']) {
      await expect(client.call(method as 'fail')).rejects.toMatchObject({ code: 'internal' });
    }
  });

  it('fails what is open and what comes when the other side is gone', async () => {
    const open = client.call('sleep');
    client.fail(new AtollError('device_lost', 'Gone.'));
    await expect(open).rejects.toMatchObject({ code: 'device_lost' });
    await expect(client.call('add', 1, 1)).rejects.toMatchObject({ code: 'device_lost' });
  });
});
