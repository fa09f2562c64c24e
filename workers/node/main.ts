/**
 * The headless contributor: `node --import ./scripts/raw-hooks.ts workers/node/main.ts --url URL`. See `--help`.
 *
 * Runs until it is told to stop or cannot go on; what it has committed is settled first where there is something left to settle with.
 */
import pino from 'pino';
import { AtollError, codeOf, type Problem, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { type Caps, exchanging } from '../p2p/swarm-member.ts';
import { createRuntime } from '../runtime/contributor.ts';
import type { ContributorControl, ContributorView } from '../runtime/view.ts';
import { KeptBlockCache } from '../storage/kept-cache.ts';
import { openNodeShelf } from '../storage/node-shelf.ts';
import { type Config, parseConfig } from './config.ts';
import { nodePorts } from './contributor.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { commandHelp } from './help.ts';
import { loadSigner } from './key-file.ts';
import { openNodeTransport } from './p2p-transport.ts';
import { threadCompute } from './thread-compute.ts';

/** A goodbye that takes longer is cut short. */
const stopMsMax = 2 * limits.stopMsMax;
/** After a failure, how long what is committed may take to be settled. */
const settleMsMax = limits.revealMsMax + limits.pullMsMax;

async function main(): Promise<number> {
  let config: Config | 'help';
  try {
    config = parseConfig(process.argv.slice(2), process.env);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return exitCodes.badConfig;
  }
  if (config === 'help') {
    process.stdout.write(commandHelp('run'));
    return exitCodes.stopped;
  }
  const log = pino({ level: config.logLevel, base: null }, pino.destination({ sync: true }));
  const named = config.name ? log.child({ name: config.name }) : log;
  try {
    return await contribute(config, named);
  } catch (error) {
    const problem = toProblem(error);
    named.error({ code: problem.code, err: error }, problem.detail);
    if (config.logLevel === 'silent') process.stderr.write(`${problem.detail}\n`);
    return exitCodeOf(problem);
  }
}

async function contribute(config: Config, log: pino.Logger): Promise<number> {
  const { url, backend, allowSoftware, threads, name, tuningFile, kernelDir } = config;
  const signer = await loadSigner(config.keyFile);
  const named = name ? { name } : {};
  const compute = threadCompute({
    ...{ backend, allowSoftware, threads, tuningFile, kernelDir, log, ...named },
    ...(config.gpu ? { gpu: config.gpu } : {}),
    ...(config.nvrtc ? { nvrtc: config.nvrtc } : {}),
  });
  const cache = new KeptBlockCache(await openNodeShelf(config.cacheDir, config.cacheBytes, log));
  const { keyFile, acceptIdentity, referee } = config;
  const keeping = { keyFile, acceptIdentity };
  const alone = { ...nodePorts({ url, signer, compute, log, cache, ...keeping }), referee };
  const { peers } = config;
  const control = createRuntime(
    peers === 'off'
      ? alone
      : exchanging(
          alone,
          (network) => openNodeTransport({ url, network, signer, choice: peers }),
          capsOf(config),
        ),
  );
  const ended = Promise.withResolvers<number>();
  await control.subscribe(viewLogger(log));
  let hasFailed = false;
  await control.subscribe((view) => {
    if (!view.problem || view.phase !== 'failed') return;
    if (!hasFailed) log.error({ code: view.problem.code, pending: view.pending }, view.problem.detail);
    onFailed(view, view.problem, hasFailed, ended.resolve);
    hasFailed = true;
  });
  stopOnRequest(config, control, log, ended.resolve);
  log.info({ contributor: signer.address, backend }, 'Starting.');
  await control.start();
  const code = await ended.promise;
  await Promise.race([control.stop(), new Promise((resolve) => setTimeout(resolve, stopMsMax))]);
  await cache.close();
  log.info({ code }, 'Stopped.');
  return code;
}

function capsOf({ uploadMax, downloadMax }: Config): Caps {
  return {
    ...(uploadMax ? { upBytesPerSecond: uploadMax } : {}),
    ...(downloadMax ? { downBytesPerSecond: downloadMax } : {}),
  };
}

function stopOnRequest(
  config: Config,
  control: ContributorControl,
  log: pino.Logger,
  end: (code: number) => void,
): void {
  let asked = false;
  const stop = (why: string) => {
    if (asked) process.exit(130);
    asked = true;
    log.info({ why }, 'Stopping.');
    void control.pause(); // the unit in hand goes back at once
    end(exitCodes.stopped);
  };
  process.on('SIGINT', () => stop('SIGINT'));
  process.on('SIGTERM', () => stop('SIGTERM'));
  if (!config.exitWithParent) return;
  process.stdin.on('end', () => asked || stop('The parent closed standard input.'));
  process.stdin.on('error', () => asked || stop('Standard input failed.'));
  process.stdin.resume();
}

function onFailed(
  view: ContributorView,
  problem: Problem,
  isKnown: boolean,
  end: (code: number) => void,
): void {
  // A run that fails from inside does so because its programs kept failing.
  const code = codeOf(problem) === 'internal' ? exitCodes.deviceFailed : exitCodeOf(problem);
  if (view.pending === 0) end(code);
  else if (!isKnown) setTimeout(() => end(code), settleMsMax).unref();
}

/** One line for what a person would want to know; progress within a unit only at level debug. */
function viewLogger(log: pino.Logger): (view: ContributorView) => void {
  let last = '';
  return (view) => {
    const { phase, reason, pending, agreed, rejected, credit, unit } = view;
    const fields = { phase, pending, agreed, rejected, credit };
    const line = JSON.stringify(fields);
    if (line === last) return log.debug({ ...fields, unit }, reason);
    last = line;
    log.info(fields, reason);
  };
}

process.on('unhandledRejection', (error) => {
  process.stderr.write(
    `${new AtollError('internal', 'A promise failed.', { cause: error }).stack}\n${String(error)}\n`,
  );
  process.exit(exitCodes.unexpected);
});
process.exit(await main());
