/**
 * How fast a swarm could be: fluid models, in which data has no blocks and every uplink is always busy.
 *
 * Kumar and Ross (Peer-assisted file distribution: the minimum distribution time, 2006): nobody can be done before
 * max(F/u_s, F/d_min, N F/(u_s + sum u_i)). With churn, after Qiu and Srikant (Modeling and performance analysis of BitTorrent-like networks, 2004): whoever
 * is there takes an equal share of what all uplinks give, and takes it along when it leaves. The strict bound lets leavers give and take nothing, which no
 * swarm can do that does not know who will leave; it is reported beside the other.
 */

export interface FluidPeer {
  /** Bytes a second. */
  up: number;
  down: number;
  joinsMs: number;
  leavesMs: number;
  /** Whether it downloads, and whether it counts among those who have to be done. */
  takes: boolean;
  counts: boolean;
}

export interface FluidBounds {
  /** Until `share` of those who count are done, ms. */
  equalMs: number;
  strictMs: number;
  /** Kumar and Ross without churn: all are there from the start and stay. */
  stillMs: number;
}

const stepMs = 50;

export function fluidBounds(
  peers: readonly FluidPeer[],
  fileBytes: number,
  originUp: number,
  share: number,
): FluidBounds {
  const counted = peers.filter((peer) => peer.counts);
  const goal = share * counted.length * fileBytes;
  const slowest = Math.min(...counted.map(({ down }) => down));
  const atLeast = 1000 * Math.max(fileBytes / originUp, fileBytes / slowest);
  const upAll = peers.reduce((sum, { up }) => sum + up, originUp);
  const takers = peers.filter((peer) => peer.takes);
  return {
    equalMs: Math.max(atLeast, drain(peers, goal, fileBytes, originUp, true)),
    strictMs: Math.max(atLeast, drain(peers, goal, fileBytes, originUp, false)),
    stillMs: Math.max(atLeast, (1000 * takers.length * fileBytes) / upAll),
  };
}

/** When all that the uplinks could give covers the goal, and what those took who left (if they take). */
function drain(
  peers: readonly FluidPeer[],
  goal: number,
  fileBytes: number,
  originUp: number,
  leaversTake: boolean,
): number {
  const took = new Map<FluidPeer, number>();
  let given = 0;
  for (let now = 0; ; now += stepMs) {
    const here = peers.filter((peer) => peer.joinsMs <= now && now < peer.leavesMs);
    const taking = here.filter((peer) => peer.takes && (took.get(peer) ?? 0) < fileBytes);
    const capacity = here.reduce((sum, { up }) => sum + up, originUp) * (stepMs / 1000);
    given += capacity;
    for (const peer of taking) {
      const part = Math.min(capacity / taking.length, (peer.down * stepMs) / 1000);
      took.set(peer, Math.min(fileBytes, (took.get(peer) ?? 0) + part));
    }
    let lost = 0;
    if (leaversTake) for (const [peer, bytes] of took) if (!peer.counts) lost += bytes;
    if (given >= goal + lost) return now + stepMs;
  }
}
