/** The repairs of @libp2p/webrtc, against events as a browser sends them, and the count of connections. */
import { expect, it, vi } from 'vitest';
import { ConnectionBudget, failInit, keepInit, tellClosed } from './webrtc.ts';

function channelOf(label: string) {
  const close = vi.fn<() => void>();
  const channel = Object.assign(new EventTarget(), { label, close }) as unknown as RTCDataChannel;
  return { channel, close };
}

it('lets only its opener close init, and every other channel by anybody', () => {
  for (const [label, closes] of [
    ['init', 0],
    ['', 1],
  ] as const) {
    const { channel, close } = channelOf(label);
    keepInit(Object.assign(new Event('datachannel'), { channel }));
    channel.close();
    expect(close).toHaveBeenCalledTimes(closes);
  }
});

it.each([
  ['failed', 'init', 1],
  ['closed', 'init', 1],
  ['disconnected', 'init', 0],
  ['failed', '', 0],
])('a connection that is %s tells who waits for "%s" (%i)', (connectionState, label, times) => {
  const { channel } = channelOf(label);
  const heard = vi.fn<() => void>();
  channel.addEventListener('error', heard);
  const connection = Object.assign(new EventTarget(), { connectionState });
  failInit(connection as unknown as RTCPeerConnection, channel);
  connection.dispatchEvent(new Event('connectionstatechange'));
  expect(heard).toHaveBeenCalledTimes(times);
});

it('says that a connection is closed', () => {
  const connection = new EventTarget();
  const heard = vi.fn<() => void>();
  connection.addEventListener('close', heard);
  tellClosed(connection as RTCPeerConnection);
  expect(heard).toHaveBeenCalledOnce();
});

it('gives out as many connections as there are', () => {
  const budget = new ConnectionBudget(2);
  budget.take();
  budget.take();
  expect(budget.left).toBe(0);
  expect(() => budget.take()).toThrow(expect.objectContaining({ code: 'rate_limited' }));
});
