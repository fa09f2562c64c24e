/** The compliance suite over the transport in memory. */
import { MemoryNetwork, type MemoryTransport } from './memory-transport.ts';
import { realClock, transportCompliance } from '../testing/compliance.ts';

const made: MemoryTransport[] = [];

transportCompliance('memory', {
  async make(count) {
    const network = new MemoryNetwork(realClock);
    const peers = Array.from({ length: count }, () => network.join());
    for (const peer of peers) await peer.start();
    made.push(...peers);
    return peers;
  },
  async end() {
    for (const peer of made.splice(0)) await peer.stop();
  },
});
