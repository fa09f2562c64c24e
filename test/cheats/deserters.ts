/**
 * Those who do not finish: the withholder computes and commits, but never reveals nor serves; the vanisher drops the link at a chosen moment
 * and stays away.
 */
import { AtollError } from '#protocol/errors.ts';
import { createRuntime } from '#workers/runtime/contributor.ts';
import type { Link, RuntimePorts, Transport } from '#workers/runtime/ports.ts';
import type { ContributorControl } from '#workers/runtime/view.ts';
import { tapped } from './wiretap.ts';

const withheld = ['reveal', 'block', 'missing'];

export function createWithholder(ports: RuntimePorts): ContributorControl {
  const transport = tapped(ports.transport, {
    outgoing: (frame) => (withheld.includes(frame.t) ? null : frame),
  });
  return createRuntime({ ...ports, transport });
}

/** `vanishes` resolves when the link was dropped: on the first lease, or right after the first commit went out. */
export function createVanisher(
  ports: RuntimePorts,
  after: 'lease' | 'commit',
): { control: ContributorControl; vanishes: Promise<void> } {
  const vanished = Promise.withResolvers<void>();
  let isGone = false;
  const vanish = (link: Link) => {
    isGone = true;
    void link.close().then(vanished.resolve);
  };
  const tappedTransport = tapped(ports.transport, {
    incoming(frame, link) {
      if (isGone) return null;
      if (frame.t === 'lease' && after === 'lease') vanish(link);
      return isGone ? null : frame;
    },
    outgoing: (frame) => (isGone ? null : frame),
    sent(frame, link) {
      if (frame.t === 'commit' && after === 'commit' && !isGone) vanish(link);
    },
  });
  const transport: Transport = {
    async connect(signal) {
      if (isGone) throw new AtollError('unavailable', 'The vanisher is gone.');
      return tappedTransport.connect(signal);
    },
  };
  return { control: createRuntime({ ...ports, transport }), vanishes: vanished.promise };
}
