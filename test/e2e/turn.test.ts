/**
 * Links that show nobody's address, through a real TURN server (coturn), in real Chromium and in Node, with the credentials of `/v1/ice`. Skipped, saying
 * why, where coturn cannot be had.
 */
import { afterAll, expect, it, onTestFinished, type TestContext } from 'vitest';
import { type IceServers, iceServersFor } from '#coordinator/p2p/ice.ts';
import { useTurn } from '#coordinator/testing/services.ts';
import { limits } from '#protocol/limits.ts';
import { endWebRtc } from '#workers/node/p2p-transport.ts';
import { openPages, type Pages } from '#workers/p2p/testing/pages.ts';
import { startNodePeer } from '#workers/p2p/testing/relay-server.ts';

const secret = 'shared by the coordinator and its TURN server';
const server = useTurn(secret);
let opening: Promise<Pages> | null = null;
afterAll(async () => {
  await (await opening?.catch(() => null))?.close();
  await endWebRtc();
});

/** The TURN server as the coordinator is told of it, and a browser with that coordinator. */
async function open(context: TestContext) {
  const turn = { urls: [(await server(context)).url], secret };
  return { turn, pages: await (opening ??= openPages({ turn })) };
}

it('pages reach each other through it, and blocks go there and back', async (context) => {
  const { pages } = await open(context);
  const [a, b] = [await pages.peer('relay-only'), await pages.peer('relay-only')];
  const { state } = await a.page.evaluate((id) => globalThis.p2pPage.dial(id), b.id);
  expect(state).toBe('relayed');
  const echoed = await a.page.evaluate((id) => globalThis.p2pPage.echo(id, 1 << 20), b.id);
  expect(echoed).toBe(1 << 20);
  await a.page.close();
  await b.page.close();
});

it('Node reaches a page through it', async (context) => {
  const { pages } = await open(context);
  const node = await startNodePeer(pages.url, { choice: 'relay-only' });
  onTestFinished(() => node.stop());
  const { page, id } = await pages.peer('relay-only');
  const link = await node.dial({ peer: id, addresses: [] });
  expect(link.state).toBe('relayed');
  await page.waitForFunction(() => globalThis.p2pPage.counts().links === 1);
  await page.close();
});

it('nobody is taken with credentials that have ended, or of another secret', async (context) => {
  const { turn, pages } = await open(context);
  const page = await pages.tab();
  /** The kinds of places where a page with these servers can be reached. */
  const places = ({ iceServers }: IceServers) =>
    page.evaluate(async (servers) => {
      const connection = new RTCPeerConnection({
        iceServers: servers as RTCIceServer[],
        iceTransportPolicy: 'relay',
      });
      const kinds: (string | null)[] = [];
      const done = new Promise<void>((resolve) => {
        connection.onicecandidate = ({ candidate }) =>
          candidate?.candidate ? kinds.push(candidate.type) : candidate === null && resolve();
      });
      connection.createDataChannel('any');
      await connection.setLocalDescription();
      await done;
      connection.close();
      return kinds;
    }, iceServers);
  const now = Date.now();
  expect(await places(iceServersFor({ turn }, 'client', now))).toEqual(['relay']);
  const ended = now - limits.turnCredentialMs - 60_000;
  expect(await places(iceServersFor({ turn }, 'client', ended))).toEqual([]);
  const other = { ...turn, secret: 'another' };
  expect(await places(iceServersFor({ turn: other }, 'client', now))).toEqual([]);
});
