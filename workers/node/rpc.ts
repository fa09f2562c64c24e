/**
 * Calls between two threads over a message port, both ways. Errors cross as problems, with the stack for the log.
 *
 * Arguments and values are structured-cloned; byte arrays must be copies of their own buffer, or the whole buffer would travel.
 */
import { AtollError, fromProblem, type Problem, toProblem } from '#protocol/errors.ts';

/** `Worker` in the host, `parentPort` in the thread. */
export interface RpcPort {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (message: Message) => void): unknown;
}

export type Methods<M> = { [K in keyof M]: (...args: never[]) => unknown };

type Message =
  | { id: number; method: string; args: unknown[] }
  | { id: number; value: unknown }
  | { id: number; problem: Problem; stack: string };

interface Pending {
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** `Theirs` are the methods of the other side; ours are given to the constructor. */
export class Rpc<Theirs extends Methods<Theirs>> {
  readonly #port: RpcPort;
  readonly #ours: Record<string, (...args: never[]) => unknown>;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #failure: AtollError | null = null;

  constructor(port: RpcPort, ours: Record<string, (...args: never[]) => unknown>) {
    this.#port = port;
    this.#ours = ours;
    port.on('message', (message) => void this.#receive(message));
  }

  call<K extends keyof Theirs & string>(
    method: K,
    ...args: Parameters<Theirs[K]>
  ): Promise<Awaited<ReturnType<Theirs[K]>>> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#port.postMessage({ id, method, args });
    });
  }

  /** The other side is gone: every call, open or to come, fails with this. */
  fail(error: AtollError): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }

  async #receive(message: Message): Promise<void> {
    if ('method' in message) return this.#answer(message);
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if ('value' in message) return pending?.resolve(message.value as never);
    const { code, message: text, details } = fromProblem(message.problem);
    pending?.reject(new AtollError(code, text, { details, cause: message.stack }));
  }

  async #answer({ id, method, args }: Extract<Message, { method: string }>): Promise<void> {
    try {
      const ours = Object.hasOwn(this.#ours, method) ? this.#ours[method] : undefined;
      if (!ours) throw new AtollError('internal', `There is no method ${method}.`);
      this.#port.postMessage({ id, value: await ours(...(args as never[])) });
    } catch (error) {
      const stack = error instanceof Error ? String(error.stack) : String(error);
      this.#port.postMessage({ id, problem: toProblem(error), stack });
    }
  }
}
