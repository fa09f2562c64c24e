/**
 * A real TURN server (coturn) for tests: on a free loopback port, for credentials under one shared secret, gone afterwards. It relays to loopback
 * addresses, which no server in the open should.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startGuarded } from './guarded.ts';
import { environmentOf, programs, requireProgram } from './install.ts';

export interface TurnServer {
  /** `turn:127.0.0.1:PORT`, over UDP. */
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const portTries = 5;

/** Throws `unavailable` with the reason when there is none to be had. */
export async function startTurn(secret: string): Promise<TurnServer> {
  const command = await requireProgram(programs.turn);
  const folder = await mkdtemp(join(tmpdir(), 'atoll-turn-'));
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      const running = await startGuarded({
        command,
        args: settings(port, secret, folder),
        env: environmentOf(programs.turn),
        // Where it was unpacked, an unprivileged account may not come.
        account: null,
        stopSignal: 'TERM',
        ready: /Total General servers/,
      });
      const stop = async () => {
        await running.stop();
        await rm(folder, { recursive: true, force: true });
      };
      return { url: `turn:127.0.0.1:${port}`, pid: running.pid, stop };
    } catch (error) {
      if (tries < portTries) continue;
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }
}

/** `-n`: no file of settings. */
function settings(port: number, secret: string, folder: string): string[] {
  return [
    ...['-n', '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', `--listening-port=${port}`],
    ...['--allow-loopback-peers', '--no-cli', '--no-tls', '--no-dtls', '--realm=atoll'],
    ...['--use-auth-secret', `--static-auth-secret=${secret}`],
    ...['--log-file=stdout', `--pidfile=${join(folder, 'pid')}`, `--userdb=${join(folder, 'users')}`],
  ];
}
