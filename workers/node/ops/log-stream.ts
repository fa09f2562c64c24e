/**
 * Where log lines go: standard output, unless that is a terminal with a progress line on it. Then they go to a file, and what a person must see (warnings and
 * worse) is said above the line in words.
 */
import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import pino from 'pino';
import { badConfig } from '../option-kinds.ts';

/** A larger one is put aside at the next start, in place of the one before it. */
const logBytesMax = 10 << 20;
const warnLevel = 40;

export interface LogStream {
  write(line: string): void;
}

/** A file that is appended to. Throws `bad_config`. */
export function openLogFile(file: string): LogStream & { fd: number } {
  try {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > logBytesMax) {
      rmSync(`${file}.1`, { force: true });
      renameSync(file, `${file}.1`);
    }
    const stream = pino.destination({ dest: file, append: true, sync: true, mode: 0o600 });
    const { fd } = stream as unknown as { fd: number };
    return { write: (line) => void stream.write(line), fd };
  } catch (cause) {
    throw badConfig(`The log file ${file} cannot be written: ${(cause as Error).message}`);
  }
}

/** Lines go on to `stream`; those that warn are told to a person too. */
export function telling(stream: LogStream, tell: (words: string) => void): LogStream {
  return {
    write(line) {
      stream.write(line);
      const words = warningIn(line);
      if (words !== null) tell(words);
    },
  };
}

function warningIn(line: string): string | null {
  try {
    const { level, msg, name } = JSON.parse(line) as { level: number; msg?: string; name?: string };
    if (level < warnLevel || !msg) return null;
    return name ? `${name}: ${msg}` : msg;
  } catch {
    return null;
  }
}
