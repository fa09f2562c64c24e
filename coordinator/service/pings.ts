/**
 * Pings to all connections, each once in a while, a part of them at a time: ten thousand writes in one turn would hold up everybody who waits for an
 * answer, and as many answers would come back at once.
 */
export interface Pinged {
  /** Counts up over all connections. */
  readonly connection: number;
  ping(): void;
}

const partMs = 250;

/** Until the timer is cleared. */
export function startPings(sessions: Iterable<Pinged>, pingMs: number): NodeJS.Timeout {
  const parts = Math.max(1, Math.floor(pingMs / partMs));
  let turn = 0;
  return setInterval(() => {
    turn = (turn + 1) % parts;
    for (const session of sessions) if (session.connection % parts === turn) session.ping();
  }, pingMs / parts);
}
