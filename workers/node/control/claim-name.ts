/** One node to a name: who has its control socket has the name. */
import { codeOf, toProblem } from '#protocol/errors.ts';
import type { Logger } from '../../runtime/ports.ts';
import { type Config, labelOf } from '../config.ts';
import { type ControlServer, openControl } from './server.ts';

/** Null where there can be no control socket, which stops nobody. */
export async function claimName(config: Config, log: Logger): Promise<ControlServer | 'taken' | null> {
  try {
    return await openControl(config.dataDir, labelOf(config), log);
  } catch (error) {
    const { code, detail } = toProblem(error);
    if (code === 'conflict') {
      log.error({ code }, detail);
      return 'taken';
    }
    const why = codeOf(error) === 'internal' ? (error as Error).message : detail;
    log.warn({ code, why }, 'There is no control socket: pause, resume, drain and status will not work.');
    return null;
  }
}
