/**
 * Processes of the bench and how they are asked: one side forks a script of this folder and calls its methods, the other serves them. What a child
 * throws is thrown here; a child that dies fails what waits for it.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

interface Call {
  id: number;
  method: string;
  params: unknown;
}
type Answer = { id: number; value: unknown } | { id: number; error: string };

export interface Child {
  readonly process: ChildProcess;
  call<T>(method: string, params?: unknown): Promise<T>;
  /** kill -9, and resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** Forks `script` of this folder; it is killed with this process. */
export function startChild(script: string, execArgv: readonly string[] = []): Child {
  const child = fork(join(import.meta.dirname, script), [], {
    execArgv: [...execArgv],
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const dieWithUs = () => void child.kill('SIGKILL');
  process.once('exit', dieWithUs);
  child.on('message', (answer: Answer) => {
    const caller = waiting.get(answer.id);
    waiting.delete(answer.id);
    if ('error' in answer) caller?.reject(new Error(`${script}: ${answer.error}`));
    else caller?.resolve(answer.value as never);
  });
  child.once('exit', (code, signal) => {
    process.off('exit', dieWithUs);
    for (const { reject } of waiting.values()) reject(new Error(`${script} ended: ${signal ?? code}`));
    waiting.clear();
  });
  let calls = 0;
  return {
    process: child,
    call: (method, params) =>
      new Promise((resolve, reject) => {
        if (!child.connected) return reject(new Error(`${script} is gone.`));
        const id = ++calls;
        waiting.set(id, { resolve, reject });
        child.send({ id, method, params } satisfies Call);
      }),
    kill: (signal = 'SIGKILL') => {
      child.kill(signal);
      return gone; // also when it is gone already
    },
  };
}

/** Serves the calls of the process that forked this one; ends when that is gone. */
export function serveCalls(methods: Readonly<Record<string, (params: never) => unknown>>): void {
  process.on('disconnect', () => process.exit(1));
  process.on('message', ({ id, method, params }: Call) => {
    const answer = (message: Answer) => void process.send?.(message);
    const run = async () => methods[method]?.(params as never);
    run().then(
      (value) => answer({ id, value }),
      (error: unknown) => answer({ id, error: (error as Error).stack ?? String(error) }),
    );
  });
}
