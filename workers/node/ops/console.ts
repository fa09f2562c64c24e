/** What a node says to whom: JSON lines to a file or standard output, and on a terminal one progress line with the warnings above it. */
import path from 'node:path';
import pino from 'pino';
import { type Config, labelOf } from '../config.ts';
import { type LogStream, openLogFile, telling } from './log-stream.ts';
import { openProgress, type Progress, type Terminal } from './progress.ts';

export interface Console {
  log: pino.Logger;
  /** Null where nobody looks on. */
  progress: Progress | null;
  /** What child processes print to; standard output unless given. */
  childOutput?: number;
  close(): void;
}

type ConsoleConfig = Pick<Config, 'logLevel' | 'logFile' | 'progress' | 'name' | 'dataDir'>;

/** Throws `bad_config` where the log file cannot be written. */
export function openConsole(
  config: ConsoleConfig,
  terminal: Terminal = process.stdout,
  env: NodeJS.ProcessEnv = process.env,
): Console {
  const { logLevel, name, dataDir } = config;
  const wanted = config.progress === 'auto' && logLevel !== 'silent';
  const progress = wanted ? openProgress(terminal, { env, now: () => performance.now() }) : null;
  // On a terminal, lines of JSON and a line that is drawn over itself do not go together.
  const logFile = config.logFile ?? (progress ? path.join(dataDir, `${labelOf({ name })}.log`) : null);
  const file = logFile === null ? null : openLogFile(logFile);
  const plain: LogStream = file ?? pino.destination({ sync: true });
  const stream = progress ? telling(plain, (words) => progress.print(words)) : plain;
  if (progress && logFile !== null) progress.print(`The log is ${logFile}.`);
  const log = pino({ level: logLevel, base: null }, stream);
  return {
    log: name ? log.child({ name }) : log,
    progress,
    ...(file ? { childOutput: file.fd } : {}),
    close: () => progress?.close(),
  };
}
