/** Node to Node over real WebRTC, signalled by a real relay: what every transport must do, and what peers that do not play by the rules come to. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { limits } from '#protocol/limits.ts';
import { encodePeerRecord, signPeerRecord } from '#protocol/p2p/record.ts';
import { createKey, signerFromKey } from '#protocol/signer.ts';
import { frameHead } from '../p2p/libp2p/framing.ts';
import { createNode, type P2pNode } from '../p2p/libp2p/node.ts';
import { relayAddress } from '../p2p/libp2p/reach.ts';
import { type Libp2pTransport, shardProtocol } from '../p2p/libp2p/transport.ts';
import type { Link, LinkEnd } from '../p2p/ports.ts';
import { transportCompliance } from '../p2p/testing/compliance.ts';
import {
  type RelayServer,
  startNodePeer,
  startRelayServer,
  testNetwork,
} from '../p2p/testing/relay-server.ts';
import { until } from '../runtime/testing/fake-clock.ts';
import { endWebRtc, loadInNode } from './p2p-transport.ts';

let server: RelayServer;
const peers: Libp2pTransport[] = [];
const nodes: P2pNode[] = [];

beforeAll(async () => {
  server = await startRelayServer();
});
afterAll(async () => {
  await server.close();
  await endWebRtc();
});

async function end(): Promise<void> {
  await Promise.all(peers.splice(0).map((peer) => peer.stop()));
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
}

async function startPeer(options: Parameters<typeof startNodePeer>[1] = {}): Promise<Libp2pTransport> {
  const peer = await startNodePeer(server.url, options);
  peers.push(peer);
  return peer;
}

transportCompliance('WebRTC, Node', {
  make: (count) => Promise.all(Array.from({ length: count }, () => startPeer())),
  end,
});

/** A libp2p node that says what it likes on the shard stream. */
async function startRogue(): Promise<P2pNode> {
  const privateKey = await generateKeyPair('Ed25519');
  const rtcConfiguration = async () => ({ iceServers: [] });
  const node = await createNode({ privateKey, webRtc: await loadInNode(), rtcConfiguration });
  nodes.push(node);
  await node.start();
  const relay = server.p2p.ice('rogue', 0).relay as string;
  await node.dial(multiaddr(relayAddress(server.url, relay)));
  return node;
}

async function reach(rogue: P2pNode, victim: Libp2pTransport): Promise<Connection> {
  return rogue.dial(multiaddr(victim.addresses[0] as string), { signal: AbortSignal.timeout(20_000) });
}

function sendFrame(stream: Stream, frame: Uint8Array): void {
  stream.send(frameHead(frame.byteLength));
  stream.send(frame);
}

/** Whether it could still be sent. */
function wasSent(send: () => unknown): boolean {
  try {
    send();
    return true;
  } catch {
    return false;
  }
}

const rogueSigner = signerFromKey(createKey());

/** Opens the stream and shows a record, by default a good one. */
async function introduce(
  rogue: P2pNode,
  victim: Libp2pTransport,
  { peer = rogue.peerId.toString(), network = testNetwork as `0x${string}` } = {},
): Promise<{ connection: Connection; stream: Stream }> {
  const connection = await reach(rogue, victim);
  const stream = await connection.newStream(shardProtocol);
  const record = await signPeerRecord(rogueSigner, network, peer, Date.now() + 60_000);
  sendFrame(stream, encodePeerRecord(record));
  return { connection, stream };
}

const isClosed = ({ status }: Connection) => status !== 'open';

describe('a peer that does not play by the rules', () => {
  afterEach(end);

  /** A victim and what it saw. */
  async function startVictim(options: Parameters<typeof startPeer>[0] = {}) {
    const victim = await startPeer(options);
    const links: Link[] = [];
    const ends: LinkEnd[] = [];
    const heard = { frames: 0 };
    victim.onLink((link) => {
      links.push(link);
      link.listen({ frame: () => heard.frames++, drain() {}, close: (reason) => ends.push(reason) });
    });
    return { victim, links, ends, heard };
  }

  it('is no link with a record of another peer or of another network, nor with none', async () => {
    const { victim, links } = await startVictim();
    const other = await startPeer();
    const another = `0x${'22'.repeat(32)}` as const;
    for (const lie of [{ peer: other.peer }, { network: another }]) {
      const { connection } = await introduce(await startRogue(), victim, lie);
      await until(() => isClosed(connection), 'the connection is closed');
    }
    const connection = await reach(await startRogue(), victim);
    sendFrame(await connection.newStream(shardProtocol), new Uint8Array(100).fill(1));
    await until(() => isClosed(connection), 'the connection is closed');
    expect(links).toEqual([]);
    // The control: with its own record the same rogue is a link.
    await introduce(await startRogue(), victim);
    await until(() => links.length === 1, 'the link');
    expect(links[0]?.contributor).toBe(rogueSigner.address);
  });

  it('is refused when it is dialled and shows a record of another', async () => {
    const dialler = await startPeer();
    const rogue = await startRogue();
    await rogue.handle(shardProtocol, (stream) => {
      void signPeerRecord(rogueSigner, testNetwork, dialler.peer, Date.now() + 60_000).then((record) =>
        sendFrame(stream, encodePeerRecord(record)),
      );
    });
    await rogue.services.identify.identify(rogue.getConnections()[0] as Connection);
    await until(() => rogue.getMultiaddrs().length > 0, 'the reservation');
    const target = { peer: rogue.peerId.toString(), addresses: [] };
    await expect(dialler.dial(target)).rejects.toMatchObject({ code: 'bad_signature' });
    expect(dialler.links).toEqual([]);
  });

  it('is cut off for a frame that is too large, before it is sent', async () => {
    const { victim, links, ends } = await startVictim();
    const { stream } = await introduce(await startRogue(), victim);
    await until(() => links.length === 1, 'the link');
    stream.send(frameHead(limits.shardFrameBytesMax + 1));
    await until(() => ends.length === 1, 'the end');
    expect(ends).toEqual(['fault']);
  });

  it('is cut off for a flood of frames', async () => {
    const { victim, links, ends, heard } = await startVictim();
    const { stream, connection } = await introduce(await startRogue(), victim);
    await until(() => links.length === 1, 'the link');
    const many = new Uint8Array(5 * 10_000);
    for (let i = 0; i < 10_000; i++) many[5 * i] = 1;
    stream.send(many);
    for (let i = 0; i < 20 && !isClosed(connection) && wasSent(() => stream.send(many)); i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await until(() => ends.length === 1, 'the end');
    expect(ends).toEqual(['fault']);
    expect(heard.frames).toBeLessThan(limits.shardFramesBurst + 4 * limits.shardFramesPerSecond);
  });

  it('is cut off for what it sends to one that has paused', async () => {
    const { victim, links, ends } = await startVictim();
    const { stream, connection } = await introduce(await startRogue(), victim);
    await until(() => links.length === 1, 'the link');
    links[0]?.pause();
    const block = new Uint8Array(1 << 20);
    for (let i = 0; i < 8 && !isClosed(connection) && wasSent(() => sendFrame(stream, block)); i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await until(() => ends.length === 1, 'the end');
    expect(ends).toEqual(['fault']);
  });

  it('does not stay when it says nothing, with a stream or without', async () => {
    const { victim, links } = await startVictim({ helloMsMax: 500 });
    const silent = await reach(await startRogue(), victim);
    const halfOpen = await reach(await startRogue(), victim);
    await halfOpen.newStream(shardProtocol);
    await until(() => isClosed(silent) && isClosed(halfOpen), 'both are closed');
    expect(links).toEqual([]);
  });
});

describe('links', () => {
  afterEach(end);

  it('there is one where both dial at once, and both see the same', async () => {
    const [a, b] = [await startPeer(), await startPeer()];
    const [atA, atB] = await Promise.all([
      a.dial({ peer: b.peer, addresses: [] }),
      b.dial({ peer: a.peer, addresses: [] }),
    ]);
    expect([atA.peer, atB.peer]).toEqual([b.peer, a.peer]);
    await until(() => {
      const [here, there] = [a.links[0], b.links[0]];
      return here !== undefined && there !== undefined && here.direction !== there.direction;
    }, 'one link');
    let got = 0;
    b.links[0]?.listen({ frame: () => got++, drain() {}, close() {} });
    a.links[0]?.send(Uint8Array.of(1));
    await until(() => got === 1, 'the frame');
  });

  it('can be made again after the relay was started anew, with another key', async () => {
    const [a, b] = [await startPeer(), await startPeer()];
    const before = await a.dial({ peer: b.peer, addresses: [] });
    const relay = server.p2p.ice('test', 0).relay;
    await server.restart();
    expect(server.p2p.ice('test', 0).relay).not.toBe(relay);
    await until(() => server.p2p.reservations === 2, 'both are back');
    // What was there needs no relay.
    expect(a.links).toEqual([before]);
    const c = await startPeer();
    expect((await c.dial({ peer: b.peer, addresses: b.addresses })).peer).toBe(b.peer);
  });

  it('are not made through a relay that does not know the other, which costs the ones there are nothing', async () => {
    const elsewhere = await startRelayServer();
    onTestFinished(() => elsewhere.close());
    const stranger = await startNodePeer(elsewhere.url);
    peers.push(stranger);
    const [a, b] = [await startPeer(), await startPeer()];
    const link = await a.dial({ peer: b.peer, addresses: [] });
    await expect(a.dial({ peer: stranger.peer, addresses: [] })).rejects.toMatchObject({
      code: 'unavailable',
    });
    // Another process behind the same address has another key.
    const relay = relayAddress(server.url, elsewhere.p2p.ice('test', 0).relay as string);
    const mistaken = { peer: stranger.peer, addresses: [`${relay}/p2p-circuit/webrtc/p2p/${stranger.peer}`] };
    await expect(a.dial(mistaken)).rejects.toMatchObject({ code: 'unavailable' });
    expect(a.links).toEqual([link]);
    await stranger.stop();
  });

  it('are not made with one that is banned, nor where addresses would be told against the choice', async () => {
    const b = await startPeer();
    const banned = (await b.record()).contributor;
    const a = await startPeer({ isBanned: (contributor) => contributor === banned });
    await expect(a.dial({ peer: b.peer, addresses: [] })).rejects.toMatchObject({ code: 'bad_signature' });
    await expect(startPeer({ choice: 'relay-only' })).rejects.toThrow('TURN');
  });
});
