/**
 * `npm start`: the network on this machine, one readable line a round, until Ctrl-C or --rounds.
 *
 * The first Ctrl-C stops everything in order (what is acknowledged is on disk in any case); a second one, at least a second later, stops at once.
 * Exit codes: 0 done or stopped, 1 unexpected, 2 an option, file or port that cannot be used, 130 stopped before --rounds was reached.
 */
import { familyName } from '#protocol/messages/model.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import type { JobStatus } from '#protocol/http/api.ts';
import { ensureWasm } from './build-wasm.ts';
import { buildPage, pageDir } from './build-page.ts';
import { checkDataDir, loadText, type Network, openNetwork } from './network.ts';
import { RoundLines, roundLine, summarise } from './round-lines.ts';
import { helpText, parseOptions, type StartOptions } from './start-options.ts';

/** npm and the terminal both pass a Ctrl-C on; only a later one is a second one. */
const secondSignalMs = 1_000;
const watchMs = 5_000;

/** Signals, and the death of the bootstrap, as one AbortSignal. `force` is called for a second signal. */
function stopOnRequest(force: () => void): AbortSignal {
  const stopping = new AbortController();
  let askedAt = 0;
  const ask = () => {
    const now = performance.now();
    if (!stopping.signal.aborted) askedAt = now;
    else if (now - askedAt > secondSignalMs) force();
    stopping.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask);
  process.on('disconnect', ask);
  process.channel?.unref();
  return stopping.signal;
}

function describe(options: StartOptions, network: Network, status: JobStatus): string[] {
  const { L, C, NH, T } = status.model;
  const training = `${status.lanes} lanes of ${status.stepsPerRound} steps of ${status.batch} sequences a round`;
  const lines = [
    `job ${status.id}`,
    `  ${status.name}: ${familyName(status.model)} ${L},${C},${NH},${T}, ${status.parameters} parameters, ${status.policy}, ${training}`,
  ];
  const done = status.rounds.length;
  if (done > 0) lines.push(`  goes on after round ${done} (loss ${status.lossLast?.toFixed(3)})`);
  lines.push(`  nodes know this coordinator as ${network.coordinator.identity}`);
  const chain = network.anchor?.info();
  if (chain)
    lines.push(`  anchored in RoundAnchor ${chain.contract} on the embedded chain at ${chain.rpcUrl}`);
  if (options.local < 2)
    lines.push('  a result needs two contributors that agree: open the page, or start with --local 2');
  lines.push('', `Open ${network.coordinator.url} to look on and to help. Ctrl-C stops.`, '');
  return lines;
}

/** Says so when a unit was given up: it is tried again by itself, but somebody should know. */
function watchForFailures(network: Network, say: (line: string) => void): () => void {
  const told = new Set<Cid>();
  const look = async () => {
    const { units } = await network.coordinator.status(network.job);
    for (const { unit, program, state } of units) {
      if (state !== 'failed' || told.has(unit)) continue;
      told.add(unit);
      say(
        `unit ${unit} (${program}) was given up for now: too many replicas disagree or never came; it is tried again`,
      );
    }
  };
  const timer = setInterval(() => void look().catch(() => undefined), watchMs);
  return () => clearInterval(timer);
}

async function run(options: StartOptions): Promise<number> {
  const say = (line: string) => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);
  let network: Network | null = null;
  const signal = stopOnRequest(() => {
    network?.kill();
    process.exit(130);
  });
  // What is wrong is told at once, before anything is started that would have to be stopped.
  const text = await loadText(options);
  checkDataDir(options.dataDir);
  // Before the page, whose build would do it only when the page is stale: the local contributors run on it.
  await ensureWasm();
  await buildPage(() => void process.stderr.write('atoll: building the page\n'));
  let status: JobStatus | null = null;
  let closing = false;
  const lines = new RoundLines((round) => {
    if (status) say(roundLine(round, status));
  }, options.chain);
  // Rounds may close before the job is introduced; their lines come after.
  const introduced = Promise.withResolvers<Cid>();
  const ofJob = (job: Cid, show: () => void) => void introduced.promise.then((own) => job === own && show());
  network = await openNetwork(
    options,
    text,
    pageDir,
    {
      say,
      onRound: (job, round) => ofJob(job, () => lines.onRound(round)),
      onAnchor: (job, number, anchor) => ofJob(job, () => lines.onAnchor(number, anchor)),
    },
    signal,
  );
  try {
    status = await network.coordinator.status(network.job);
    for (const line of describe(options, network, status)) say(line);
    introduced.resolve(network.job);
    void network.anchor?.ended.then(() => {
      if (!closing && !signal.aborted)
        say('the embedded chain has ended; rounds wait and are anchored after the next start');
    });
    const unwatch = watchForFailures(network, say);
    await untilDone(options, network, signal);
    unwatch();
    closing = true;
    lines.close();
    const summary = summarise(await network.coordinator.status(network.job));
    if (signal.aborted) say('stopping');
    await network.close();
    if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`);
    return options.rounds !== null && summary.rounds < options.rounds ? 130 : 0;
  } finally {
    await network.close();
  }
}

/** Resolves when the rounds are done or somebody wants to stop. */
async function untilDone(options: StartOptions, network: Network, signal: AbortSignal): Promise<void> {
  const { coordinator, job } = network;
  if (options.rounds !== null) {
    await coordinator.settled(job, options.rounds, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  } else if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
}

async function main(): Promise<number> {
  try {
    const options = parseOptions(
      process.argv.slice(2),
      process.env,
      process.env['INIT_CWD'] ?? process.cwd(),
    );
    if (!options.help) return await run(options);
    console.log(helpText());
    return 0;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'cancelled') return 130;
    const expected = error instanceof AtollError && code !== 'internal';
    process.stderr.write(`atoll: ${expected ? error.message : ((error as Error).stack ?? String(error))}\n`);
    return ['bad_config', 'bad_input', 'port_busy'].includes(code) ? 2 : 1;
  }
}

process.exit(await main());
