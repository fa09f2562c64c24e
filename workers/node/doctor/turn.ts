/**
 * Whether a TURN server answers: over UDP by a STUN Binding request, which every TURN server takes without credentials (RFC 8489, RFC 8656); over TCP and TLS by
 * whether it takes the connection.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const magicCookie = 0x2112a442;
const bindingRequest = 0x0001;
const tryMs = 1_000;
const tries = 3;

export interface TurnAddress {
  host: string;
  port: number;
  transport: 'udp' | 'tcp';
}

/** Null for what is no address of a TURN server. */
export function parseTurn(url: string): TurnAddress | null {
  const [, scheme, host = '', port, query] =
    /^(turns?):(\[[^\]]+\]|[^:?]+)(?::(\d{1,5}))?(?:\?(.*))?$/.exec(url) ?? [];
  if (!scheme) return null;
  const isTcp = scheme === 'turns' || /(^|&)transport=tcp(&|$)/.test(query ?? '');
  return {
    host: host.replace(/^\[|\]$/g, ''),
    port: Number(port ?? (scheme === 'turns' ? 5349 : 3478)),
    transport: isTcp ? 'tcp' : 'udp',
  };
}

/** Never rejects. */
export async function reachTurn(url: string, signal: AbortSignal): Promise<boolean> {
  const address = parseTurn(url);
  if (!address || signal.aborted) return false;
  return address.transport === 'tcp' ? reachTcp(address, signal) : reachUdp(address, signal);
}

function reachTcp({ host, port }: TurnAddress, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal });
    socket.setTimeout(tries * tryMs, () => socket.destroy());
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
  });
}

function reachUdp({ host, port }: TurnAddress, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const request = Buffer.alloc(20);
    request.writeUInt16BE(bindingRequest, 0);
    request.writeUInt32BE(magicCookie, 4);
    randomBytes(12).copy(request, 8);
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    let sent = 0;
    const end = (reached: boolean) => {
      clearInterval(timer);
      signal.removeEventListener('abort', stop);
      resolve(reached);
      socket.close(() => {});
    };
    const stop = () => end(false);
    const send = () =>
      sent++ < tries ? socket.send(request, port, host, (error) => error && end(false)) : end(false);
    const timer = setInterval(send, tryMs);
    signal.addEventListener('abort', stop, { once: true });
    socket.on('error', () => end(false));
    // The answer to what was asked: the transaction is ours.
    socket.on('message', (message) => {
      if (message.length >= 20 && message.subarray(8, 20).equals(request.subarray(8, 20))) end(true);
    });
    send();
  });
}
