/**
 * Links to other contributors from Node, over node-datachannel. Loaded by the first call and never before.
 *
 * libp2p takes RTCPeerConnection from a module, where no subclass can be put in its place, so its prototype is repaired: as in a page (libp2p/webrtc.ts), and
 * once more. libdatachannel begins DTLS as soon as ICE connects, which may be in the middle of `setRemoteDescription`, before the other side's fingerprint is
 * stored: then its certificate is refused (one dial in six). Who offers therefore names no candidates before it has the answer.
 */
import type { webRTC } from '@libp2p/webrtc';
import { AtollError } from '#protocol/errors.ts';
import { type OpenOptions, reachOf } from '../p2p/libp2p/options.ts';
import type { Libp2pTransport } from '../p2p/libp2p/transport.ts';
import { failInit, keepInit, tellClosed } from '../p2p/libp2p/webrtc.ts';

/** How long the coordinator may take to say how others are reached. */
const iceMsMax = 20_000;

let isRepaired = false;

function repair(prototype: RTCPeerConnection): void {
  if (isRepaired) return;
  isRepaired = true;
  /** Candidates of those that offer and have no answer yet. */
  const held = new WeakMap<RTCPeerConnection, Event[]>();
  const { dispatchEvent, createDataChannel, close } = prototype;
  const setRemoteDescription: (this: RTCPeerConnection, to: RTCSessionDescriptionInit) => Promise<void> =
    prototype.setRemoteDescription;
  prototype.createDataChannel = function (label, options) {
    const channel = createDataChannel.call(this, label, options);
    if (this.signalingState !== 'stable' && !held.has(this)) held.set(this, []);
    failInit(this, channel);
    return channel;
  };
  prototype.close = function () {
    close.call(this);
    tellClosed(this);
  };
  prototype.dispatchEvent = function (event) {
    keepInit(event);
    const waiting = event.type === 'icecandidate' ? held.get(this) : undefined;
    if (!waiting) return dispatchEvent.call(this, event);
    waiting.push(event);
    return true;
  };
  prototype.setRemoteDescription = async function (description: RTCSessionDescriptionInit) {
    await setRemoteDescription.call(this, description);
    const waiting = held.get(this) ?? [];
    held.delete(this);
    for (const event of waiting) dispatchEvent.call(this, event);
  };
}

/**
 * node-datachannel writes name and password into the server's URL as they are, and libdatachannel reads them with their percent signs undone: as they
 * are, a name `expiry:user` would end at its colon.
 */
function escapeCredentials(configuration: RTCConfiguration): RTCConfiguration {
  const iceServers = configuration.iceServers?.map(({ urls, username, credential }) =>
    username === undefined || credential === undefined
      ? { urls }
      : { urls, username: encodeURIComponent(username), credential: encodeURIComponent(credential) },
  );
  return { ...configuration, iceServers: iceServers ?? [] };
}

/** @libp2p/webrtc on node-datachannel, repaired. */
export async function loadInNode(): Promise<typeof webRTC> {
  const { RTCPeerConnection } = await import('node-datachannel/polyfill');
  repair(RTCPeerConnection.prototype as unknown as RTCPeerConnection);
  const { webRTC: original } = await import('@libp2p/webrtc');
  return ({ rtcConfiguration = {}, ...others } = {}) =>
    original({
      ...others,
      rtcConfiguration: async () =>
        escapeCredentials(
          await (typeof rtcConfiguration === 'function' ? rtcConfiguration() : rtcConfiguration),
        ),
    });
}

/** Throws `unavailable` where node-datachannel was not built for this platform, and where the network offers no way that the choice allows. */
export async function openNodeTransport(options: OpenOptions): Promise<Libp2pTransport> {
  // Asked first: libp2p is not loaded for nothing.
  await reachOf(options).current(AbortSignal.timeout(iceMsMax));
  const webRtc = await loadInNode().catch((cause: unknown) => {
    throw new AtollError('unavailable', 'WebRTC for Node is not available on this platform.', { cause });
  });
  const { openTransport } = await import('../p2p/libp2p/open.ts');
  return openTransport(options, webRtc);
}

/** Ends libdatachannel's threads, which would keep the process; after the last transport has stopped. */
export async function endWebRtc(): Promise<void> {
  (await import('node-datachannel')).cleanup();
}
