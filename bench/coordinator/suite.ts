/**
 * `npm run bench -- coordinator`: one coordinator under the load of many contributors over real WebSockets, with real signatures and a database
 * that syncs every commit.
 *
 * A cycle is a lease, a signed commit and a reveal, each acknowledged; verdict, credit and ledger are part of the load. The generator is a process
 * of its own and shares the cores with the coordinator: cycles per CPU-second of the coordinator are given beside what the clock says. Units bring
 * no blocks along (work.ts says why).
 */
import type { BenchOutcome, BenchRow, SuiteOptions } from '#scripts/bench.ts';
import { type PostgresServer, startPostgres } from '#scripts/services/postgres.ts';
import { bounded, information, median } from '../rig/duel.ts';
import { killAtRandom, noSmallDisk, restartPostgres, runOutOfSpace, type Survived } from './faults.ts';
import { syncMs } from './numbers.ts';
import { measureSockets, measureThroughput } from './throughput.ts';

type Say = (line: string) => void;

export async function run(say: Say, { quick }: SuiteOptions): Promise<BenchOutcome> {
  const rows: BenchRow[] = [];
  for (const part of [throughputRows, socketRows, killRows, spaceRows])
    rows.push(...(await part(say, quick)));
  rows.push(...(await postgresRows(say, quick)));
  return { device: `fdatasync ${(await syncMs()).toFixed(2)} ms`, versions: {}, rows };
}

/** Two coordinators on one PostgreSQL, which is started for this and durable, as production's must be. */
async function postgresRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  let postgres: PostgresServer;
  try {
    postgres = await startPostgres(['fsync=on', 'synchronous_commit=on']);
  } catch (error) {
    say(`PostgreSQL skipped: ${(error as Error).message}`);
    return [];
  }
  const on = async () => ({ databaseUrl: await postgres.createDatabase(), servers: 2 });
  const id = 'PostgreSQL restarted under load: acknowledged and lost';
  try {
    return [
      ...(await throughputRows(say, quick, await on())),
      ...(await killRows(say, quick, await on())),
      ...(await attempted(id, say, async () => {
        say(id);
        const { databaseUrl } = await on();
        return survivalRows(id, await restartPostgres(postgres, databaseUrl, quick ? 1 : 4, say));
      })),
    ];
  } finally {
    await postgres.stop();
  }
}

interface Shared {
  databaseUrl: string;
  servers: number;
}

/** The rows of one part; one that fails says so and fails its row, and the others go on. */
async function attempted(id: string, say: Say, run: () => Promise<BenchRow[]>): Promise<BenchRow[]> {
  try {
    return await run();
  } catch (error) {
    say(`  ${id} failed: ${(error as Error).message}`);
    return [{ ...information(id, Number.NaN, ''), ok: false }];
  }
}

function throughputRows(say: Say, quick: boolean, shared?: Shared): Promise<BenchRow[]> {
  const kind = shared ? 'PostgreSQL' : 'SQLite';
  const id = `cycles/s, ${shared ? 'two processes' : 'one process'}, ${kind}`;
  const bound = shared ? { atLeast: 2_500, aim: 6_000 } : { atLeast: 3_000, aim: 8_000 };
  say(id);
  return attempted(id, say, async () => {
    const options = quick
      ? { contributors: 128, units: 30_000, windows: 2, windowMs: 3_000 }
      : { contributors: 256, units: 150_000, windows: 5, windowMs: 5_000 };
    const measured = await measureThroughput({ ...options, ...shared });
    say(`  ${measured.cyclesPerSecond.map((n) => n.toFixed(0)).join(', ')} cycles/s`);
    for (const [code, count] of Object.entries(measured.problems)) say(`  ${count} problems: ${code}`);
    return [
      bounded(id, median(measured.cyclesPerSecond), 'cycles/s', bound),
      information(`cycles per CPU-second of it, ${kind}`, measured.cyclesPerServerCpuSecond, 'cycles'),
      information(
        `cycles per CPU-second of the generator, ${kind}`,
        measured.cyclesPerLoadCpuSecond,
        'cycles',
      ),
    ];
  });
}

function socketRows(say: Say, quick: boolean): Promise<BenchRow[]> {
  const contributors = quick ? 1_000 : 10_000;
  const name = `${contributors.toLocaleString('en')} sockets`;
  say(name);
  return attempted(name, say, async () => {
    const measured = await measureSockets({
      contributors,
      perSecond: contributors / 10,
      seconds: quick ? 5 : 20,
    });
    return [
      bounded(`memory of each of ${name}`, measured.residentBytesEach / 1024, 'KB', { atMost: 60, aim: 30 }),
      bounded(`p99 lease, ${name}`, measured.leaseMs99, 'ms', { atMost: 250, aim: 100 }),
      information(`median lease, ${name}`, measured.leaseMsMedian, 'ms'),
      information(`heap of each of ${name}`, measured.heapBytesEach / 1024, 'KB'),
      information(`leases committed meanwhile, ${name}`, measured.commitsPerSecond, 'per s'),
    ];
  });
}

/** A row is met when nothing was lost and everything started again; it says out of how much. */
function survivalRows(id: string, { lost, acknowledged, faults }: Survived): BenchRow[] {
  return [
    bounded(id, lost, 'lost', { atMost: 0, aim: 0 }),
    information(`${id}: acknowledged`, acknowledged, `over ${faults}`),
  ];
}

function killRows(say: Say, quick: boolean, shared?: Shared): Promise<BenchRow[]> {
  const kills = quick ? 5 : 50;
  const id = `kill -9 at ${kills} moments, ${shared ? 'PostgreSQL' : 'SQLite'}: acknowledged and lost`;
  say(id);
  return attempted(id, say, async () =>
    survivalRows(
      id,
      await killAtRandom({ kills, contributors: 64, units: 100_000, aliveMsMax: 1_500, say, ...shared }),
    ),
  );
}

function spaceRows(say: Say): Promise<BenchRow[]> {
  const id = 'out of disk space, SQLite: acknowledged and lost';
  say(id);
  const reason = noSmallDisk();
  if (reason) say(`  skipped: ${reason}`);
  if (reason) return Promise.resolve([]);
  return attempted(id, say, async () => survivalRows(id, await runOutOfSpace(32)));
}
