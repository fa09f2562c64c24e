/**
 * @libp2p/webrtc with three repairs, and with a count of RTCPeerConnections where there is a bound on them.
 *
 * The dialler of a connection opens a data channel 'init', waits until it is open, closes it and waits for its 'close'. The other side closes it on sight;
 * where that comes first, the dialler waits for an event that is past, until its time is up (22% of dials). So the side that did not open it must not close
 * it. A connection that fails meanwhile is waited for as long: so 'init' says that it did. And libp2p forgets a connection on its event 'close', which no
 * browser sends: it is sent here, or every connection would stay in memory until the last. Remove this when @libp2p/webrtc does all that itself.
 */
import type { webRTC } from '@libp2p/webrtc';
import { AtollError } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';

const initLabel = 'init';

/** Keeps the side that did not open it from closing 'init'. To be told of every event of a connection before libp2p is. */
export function keepInit(event: Event): void {
  if (event.type !== 'datachannel') return;
  const { channel } = event as RTCDataChannelEvent;
  if (channel.label === initLabel) channel.close = () => undefined;
}

/** Lets whoever waits for 'init' know that the connection will not come about. To be told of every channel that is created. */
export function failInit(connection: RTCPeerConnection, channel: RTCDataChannel): void {
  if (channel.label !== initLabel) return;
  connection.addEventListener('connectionstatechange', () => {
    const isOver = connection.connectionState === 'failed' || connection.connectionState === 'closed';
    if (isOver) channel.dispatchEvent(new Event('error'));
  });
}

/** Lets libp2p forget a connection that it has closed. */
export function tellClosed(connection: RTCPeerConnection): void {
  connection.dispatchEvent(new Event('close'));
}

/** How many RTCPeerConnections there are in memory, closed ones included: that is what a browser counts. */
export class ConnectionBudget {
  #count = 0;
  readonly #most: number;
  readonly #collected = new FinalizationRegistry(() => this.#count--);

  constructor(most: number = limits.peerConnectionsMax) {
    this.#most = most;
  }

  get left(): number {
    return this.#most - this.#count;
  }

  /** Throws `rate_limited`. */
  take(): void {
    if (this.left <= 0) throw new AtollError('rate_limited', 'This page has no WebRTC connections left.');
    this.#count++;
  }

  /** Counts it until it is collected. */
  follow(connection: object): void {
    this.#collected.register(connection, undefined);
  }
}

/** In a page: @libp2p/webrtc takes the class that is global when it is loaded, so it is loaded under a class of ours. */
export async function loadInPage(budget: ConnectionBudget): Promise<typeof webRTC> {
  const Original = globalThis.RTCPeerConnection as typeof RTCPeerConnection | undefined;
  if (!Original) throw new AtollError('unavailable', 'This browser has no WebRTC here.');
  class Repaired extends Original {
    constructor(configuration?: RTCConfiguration) {
      budget.take();
      super(configuration);
      budget.follow(this);
      this.addEventListener('datachannel', keepInit);
    }

    override createDataChannel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
      const channel = super.createDataChannel(label, options);
      failInit(this, channel);
      return channel;
    }

    override close(): void {
      super.close();
      tellClosed(this);
    }
  }
  globalThis.RTCPeerConnection = Repaired;
  try {
    return (await import('@libp2p/webrtc')).webRTC;
  } finally {
    globalThis.RTCPeerConnection = Original;
  }
}
