/**
 * Keeps one contributor connected to the relay, where others find it: dials, waits for the reservation, and begins again when the connection ends, with
 * pauses that grow. Each time it asks anew where the relay is, since a coordinator that was restarted has another.
 */
import type { Connection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Clock } from '../../runtime/ports.ts';
import { sleep } from '../../runtime/timing.ts';
import { type P2pNode, reservationMsMax } from './node.ts';

export interface RelayPorts {
  node: P2pNode;
  clock: Clock;
  /** Between 0 and 1. */
  random: () => number;
  /** The relay's multiaddr as of now, its peer id included. */
  find: (signal: AbortSignal) => Promise<string>;
  /** The address of the relay while others find this peer through it, else null. */
  onChange: (address: string | null) => void;
}

/** Runs until `signal` is aborted. Rejects never. */
export async function stayAtRelay(ports: RelayPorts, signal: AbortSignal): Promise<void> {
  const { clock, random, onChange } = ports;
  let wait: number = limits.reconnectMsMin;
  while (!signal.aborted) {
    try {
      const { connection, address } = await join(ports, signal);
      wait = limits.reconnectMsMin;
      onChange(address);
      await closed(connection, signal);
    } catch {
      // The next try says more than any word about this one.
    }
    onChange(null);
    if (signal.aborted) return;
    await sleep(clock, wait * (0.5 + random() / 2), signal).catch(() => undefined);
    wait = Math.min(wait * 2, limits.reconnectMsMax);
  }
}

async function join({ node, find }: RelayPorts, stop: AbortSignal) {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(reservationMsMax)]);
  const address = await find(signal);
  const connection = await node.dial(multiaddr(address), { signal });
  try {
    const reserved = reservation(node, connection.remotePeer.toString(), signal);
    await node.services.identify.identify(connection, { signal });
    await reserved;
  } catch (error) {
    connection.abort(error as Error);
    throw error;
  }
  return { connection, address };
}

/** libp2p reserves by itself once it knows that a peer relays; its own addresses tell when. */
function reservation(node: P2pNode, relay: string, signal: AbortSignal): Promise<void> {
  const isReserved = () =>
    node.getMultiaddrs().some((own) => own.toString().includes(`/p2p/${relay}/p2p-circuit`));
  return new Promise((resolve, reject) => {
    const look = () => {
      if (isReserved()) end(resolve);
    };
    const fail = () => end(() => reject(new AtollError('unavailable', 'The relay did not answer in time.')));
    const end = (act: () => void) => {
      node.removeEventListener('self:peer:update', look);
      signal.removeEventListener('abort', fail);
      act();
    };
    node.addEventListener('self:peer:update', look);
    signal.addEventListener('abort', fail, { once: true });
    if (signal.aborted) fail();
    else look();
  });
}

function closed(connection: Connection, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (connection.status !== 'open' || signal.aborted) return resolve();
    connection.addEventListener('close', () => resolve(), { once: true });
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
