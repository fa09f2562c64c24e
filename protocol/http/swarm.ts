/**
 * How a fetch of a block names its swarm: the `Atoll-Swarm` header, `NAME;peer=PEER`. The coordinator then lends the block to that peer for a moment: another
 * peer of the same swarm is told to wait (409 `leased`, with `retryMs`), because a neighbour is about to have the block. A fetch without the header is never made to wait.
 */
export const swarmHeader = 'Atoll-Swarm';

export interface SwarmAsker {
  /** Chosen by the swarm; peers that can give each other blocks use the same one. */
  swarm: string;
  /** The libp2p peer id. */
  peer: string;
}

const form = /^([A-Za-z0-9_.:-]{1,80}); ?peer=([A-Za-z0-9]{1,80})$/;

export function swarmText({ swarm, peer }: SwarmAsker): string {
  return `${swarm};peer=${peer}`;
}

/** Undefined for what is not in that form. */
export function parseSwarm(text: string): SwarmAsker | undefined {
  const [, swarm, peer] = form.exec(text) ?? [];
  return swarm !== undefined && peer !== undefined ? { swarm, peer } : undefined;
}
