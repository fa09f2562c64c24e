/** A logger for libp2p that says nothing: its lines are full of peers' addresses, which are never logged here. */

function silence(): void {}

interface SilentLogger {
  (): void;
  enabled: boolean;
  trace(): void;
  error(): void;
  newScope(): SilentLogger;
}

const silent: SilentLogger = Object.assign(silence, {
  enabled: false,
  trace: silence,
  error: silence,
  newScope: () => silent,
});

/** As libp2p's `logger` option takes it. */
export const silentLibp2pLogger = { forComponent: () => silent };
