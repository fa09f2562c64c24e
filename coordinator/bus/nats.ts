/**
 * The bus over NATS: plain publish and subscribe on one subject for each network, no JetStream, since the database is the record. The client
 * connects again by itself; what was said meanwhile is a gap.
 */
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { AtollError } from '#protocol/errors.ts';
import type { Hex } from 'viem';
import { type BusMessage, readBatch } from './messages.ts';
import { Outbox } from './outbox.ts';
import { type EventBus, Listeners } from './port.ts';

export interface NatsOptions {
  /** `nats://host:port`, several separated by commas; may hold credentials, so it is never shown. */
  url: string;
  network: Hex;
}

const flushMs = 10;
const reconnectMs = 500;
const connectMs = 10_000;

/** Throws `bad_config` when the server cannot be reached. */
export async function openNatsBus({ url, network }: NatsOptions): Promise<EventBus> {
  const connection = await connectTo(url);
  const subject = `atoll.${network}`;
  const heard = new Listeners<[BusMessage]>();
  const gaps = new Listeners<[]>();
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error) return gaps.call();
      for (const each of readBatch(message.data)) heard.call(each);
    },
  });
  void watchStatus(connection, gaps);
  // A batch that is published while there is no connection would wait in the client: better to lose it than to send stale hints.
  const outbox = new Outbox(flushMs, async (batch) => connection.publish(subject, batch));
  return {
    isShared: true,
    publish: (message) => outbox.push(message),
    subscribe: (listener) => heard.add(listener),
    onGap: (listener) => gaps.add(listener),
    close: async () => {
      await outbox.close();
      await connection.close();
    },
  };
}

async function connectTo(url: string): Promise<NatsConnection> {
  const servers = url.split(',').map((server) => server.trim());
  const credentials = credentialsOf(servers[0] ?? '');
  try {
    return await connect({
      servers: servers.map(withoutCredentials),
      ...credentials,
      noEcho: true,
      maxReconnectAttempts: -1,
      reconnectTimeWait: reconnectMs,
      timeout: connectMs,
      ignoreAuthErrorAbort: true,
    });
  } catch (cause) {
    throw new AtollError(
      'bad_config',
      `The NATS server of NATS_URL cannot be reached: ${(cause as Error).message}. Start it, or correct the address.`,
    );
  }
}

/** User and password of a URL, as the client wants them: apart. */
function credentialsOf(server: string): { user?: string; pass?: string; token?: string } {
  if (!URL.canParse(server)) return {};
  const { username, password } = new URL(server);
  if (username === '') return {};
  const user = decodeURIComponent(username);
  return password === '' ? { token: user } : { user, pass: decodeURIComponent(password) };
}

function withoutCredentials(server: string): string {
  return server.replace(/\/\/[^@/]*@/, '//');
}

async function watchStatus(connection: NatsConnection, gaps: Listeners<[]>): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === 'reconnect' || status.type === 'slowConsumer') gaps.call();
  }
}
