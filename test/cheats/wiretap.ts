/**
 * A transport with a hand on the wire: every frame, in and out, passes through two functions that may change it or swallow it. Cheats are
 * honest contributors with this in place of the real transport.
 */
import {
  decodeFromContributor,
  decodeFromCoordinator,
  encodeFrame,
  type FromContributor,
  type FromCoordinator,
} from '#protocol/messages/frames.ts';
import type { Link, Transport } from '#workers/runtime/ports.ts';

export interface Tap {
  /** What goes out instead; null for nothing. */
  outgoing?: (frame: FromContributor, link: Link) => FromContributor | null | Promise<FromContributor | null>;
  /** The frame is on its way. */
  sent?: (frame: FromContributor, link: Link) => void;
  /** What comes in instead; null for nothing. */
  incoming?: (frame: FromCoordinator, link: Link) => FromCoordinator | null;
}

export function tapped(transport: Transport, tap: Tap): Transport {
  return {
    async connect(signal) {
      const link = await transport.connect(signal);
      return {
        frames: incoming(link, tap),
        send: async (bytes) => {
          const frame = decodeFromContributor(bytes);
          const out = tap.outgoing ? await tap.outgoing(frame, link) : frame;
          if (!out) return;
          await link.send(encodeFrame(out));
          tap.sent?.(out, link);
        },
        close: () => link.close(),
      };
    },
  };
}

async function* incoming(link: Link, tap: Tap): AsyncGenerator<Uint8Array> {
  for await (const bytes of link.frames) {
    const frame = decodeFromCoordinator(bytes);
    const passed = tap.incoming ? tap.incoming(frame, link) : frame;
    if (passed) yield passed === frame ? bytes : encodeFrame(passed);
  }
}
