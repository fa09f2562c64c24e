/** The connections of contributors to this process: let in up to a limit, and all told goodbye at once. */
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { limits } from '#protocol/limits.ts';
import { pause } from './pause.ts';
import { Session, type SessionPorts } from './session.ts';

export class Sessions {
  readonly open = new Set<Session>();

  /** One too many is told to come again later. */
  admit(socket: WebSocket, wire: Duplex, ports: SessionPorts): void {
    if (this.open.size >= limits.connectionsMax) return socket.close(1013);
    const session = new Session(socket, wire, ports);
    this.open.add(session);
    socket.on('close', () => this.open.delete(session));
  }

  /** Answers what has arrived and says goodbye to everybody, in that time at most. */
  async drain(drainMs: number): Promise<void> {
    const late = new AbortController();
    const drained = Promise.all([...this.open].map((session) => session.drain()));
    await Promise.race([drained, pause(drainMs, late.signal)]);
    late.abort();
  }

  close(): void {
    for (const session of this.open) session.close();
  }
}
