/**
 * A coordinator in a process of its own, to be killed: `node child.ts DATA_DIR PORT ROUNDS`. Prints its port when it is ready. DATABASE_URL and
 * NATS_URL take it to a database that others share.
 */
import { createCoordinator } from '../main.ts';
import { fakeInitialCheckpoint, testJob, testText } from './fake-programs.ts';

const [dataDir, port, rounds] = process.argv.slice(2);
const { DATABASE_URL: databaseUrl, NATS_URL: natsUrl } = process.env;
const coordinator = await createCoordinator({
  dataDir: dataDir as string,
  port: Number(port),
  initialCheckpoint: fakeInitialCheckpoint,
  stopAfterRounds: Number(rounds),
  ...(databaseUrl ? { databaseUrl } : {}),
  ...(natsUrl ? { natsUrl } : {}),
});
await coordinator.ensureJob(testJob(), testText(), { stopAfterRounds: Number(rounds) });
console.log(String(coordinator.port));
