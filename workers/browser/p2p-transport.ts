/**
 * Links to other contributors from a page. On the page's own thread, since workers have no RTCPeerConnection; libp2p (some 170 KB compressed) is loaded by
 * the first call and never before.
 */
import type { OpenOptions } from '../p2p/libp2p/options.ts';
import type { Libp2pTransport } from '../p2p/libp2p/transport.ts';
import { ConnectionBudget, loadInPage } from '../p2p/libp2p/webrtc.ts';

/** Of the page, whatever is opened and closed in it. */
const budget = new ConnectionBudget();

/** How many more RTCPeerConnections this page may make before it has to be loaded again. */
export const connectionsLeft = () => budget.left;

/** Throws `unavailable` where there is no WebRTC. */
export async function openPageTransport(options: OpenOptions): Promise<Libp2pTransport> {
  const [webRtc, { openTransport }] = await Promise.all([
    loadInPage(budget),
    import('../p2p/libp2p/open.ts'),
  ]);
  const transport = await openTransport(options, webRtc);
  // Others would notice a page that is gone only when ICE does, after some 20 seconds.
  addEventListener('pagehide', () => void transport.stop(), { signal: transport.ended });
  return transport;
}
