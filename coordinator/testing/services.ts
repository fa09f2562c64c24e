/**
 * PostgreSQL, NATS and coturn for a test file: one server of each kind for the whole file, started by the first test that asks and stopped after the last.
 * Where none can be had the test is skipped, saying why.
 */
import { afterAll, type TestContext } from 'vitest';
import { codeOf } from '#protocol/errors.ts';
import { type NatsServer, startNats } from '#scripts/services/nats.ts';
import { type PostgresServer, startPostgres } from '#scripts/services/postgres.ts';
import { startTurn, type TurnServer } from '#scripts/services/turn.ts';

/** Call it at the top of a test file; what it returns is called by the tests. */
export function usePostgres(
  settings: readonly string[] = [],
): (context: TestContext) => Promise<PostgresServer> {
  return use(() => startPostgres(settings));
}

export function useNats(): (context: TestContext) => Promise<NatsServer> {
  return use(startNats);
}

/** `secret` is what the server shares with the coordinator. */
export function useTurn(secret: string): (context: TestContext) => Promise<TurnServer> {
  return use(() => startTurn(secret));
}

function use<T extends { stop(): Promise<void> }>(
  start: () => Promise<T>,
): (context: TestContext) => Promise<T> {
  let starting: Promise<T> | null = null;
  afterAll(async () => {
    const server = await starting?.catch(() => null);
    await server?.stop();
  });
  return async (context) => {
    try {
      return await (starting ??= start());
    } catch (error) {
      if (codeOf(error) === 'unavailable') return context.skip((error as Error).message);
      throw error;
    }
  };
}
