/** A real NATS server for tests: on a free loopback port, without a disk of its own, gone afterwards. */
import { freePort, type Guarded, startGuarded } from './guarded.ts';
import { programs, requireProgram } from './install.ts';

export interface NatsServer {
  readonly url: string;
  halt(): Promise<void>;
  /** Starts it again after `halt`, on the same port. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

const portTries = 5;

/** Throws `unavailable` with the reason when there is none to be had. */
export async function startNats(): Promise<NatsServer> {
  const command = await requireProgram(programs.nats);
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      let running = await start(command, port);
      const halt = () => running.stop();
      const resume = async () => {
        running = await start(command, port);
      };
      return { url: `nats://127.0.0.1:${port}`, halt, resume, stop: halt };
    } catch (error) {
      if (tries === portTries) throw error;
    }
  }
}

function start(command: string, port: number): Promise<Guarded> {
  return startGuarded({
    command,
    args: ['-a', '127.0.0.1', '-p', String(port)],
    stopSignal: 'TERM',
    ready: /Server is ready/,
  });
}
