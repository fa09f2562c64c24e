/** The coordinator's relay and `/v1/ice` on a port of their own, without the rest of a coordinator; and contributors in Node that use them. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openP2p, type P2p, type P2pOptions } from '#coordinator/p2p/p2p.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { openNodeTransport } from '../../node/p2p-transport.ts';
import type { OpenOptions } from '../libp2p/options.ts';
import type { Libp2pTransport } from '../libp2p/transport.ts';

export const testNetwork = `0x${'11'.repeat(32)}` as const;

export interface RelayServer {
  readonly url: string;
  readonly p2p: P2p;
  /** Ends the relay and starts another, with another key, at the same address. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startRelayServer(options: P2pOptions = {}): Promise<RelayServer> {
  let p2p = await openP2p(options);
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'application/json');
    response.setHeader('access-control-allow-origin', '*');
    response.end(JSON.stringify(p2p.ice('test', Date.now())));
  });
  server.on('upgrade', (request, socket, head) => p2p.admit(request, socket, head, 'test'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    get p2p() {
      return p2p;
    },
    async restart() {
      await p2p.close();
      p2p = await openP2p(options);
    },
    async close() {
      await p2p.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A contributor's transport in this process, started. */
export async function startNodePeer(
  url: string,
  options: Partial<OpenOptions> = {},
): Promise<Libp2pTransport> {
  const signer = signerFromKey(createKey());
  const transport = await openNodeTransport({
    ...{ url, network: testNetwork, signer, choice: 'direct' as const },
    ...options,
  });
  await transport.start();
  return transport;
}
