/** Whoever waits for anything to change looks again when it has. */
export class Changes {
  readonly #waiting = new Set<() => void>();

  /** Resolves at the next `tell`, or when the signal fires. */
  next(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  tell(): void {
    for (const done of [...this.#waiting]) done();
  }
}
