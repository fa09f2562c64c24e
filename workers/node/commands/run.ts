/**
 * `atoll node run`: a contributor that runs until it is told to stop or cannot go on. What it has committed is settled first, where there is something left to
 * settle with.
 */
import { AtollError, codeOf, type Problem, toProblem } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import { type Caps, exchanging } from '../../p2p/swarm-member.ts';
import { createRuntime, type ShellControl } from '../../runtime/contributor.ts';
import type { Compute, Logger } from '../../runtime/ports.ts';
import type { ContributorView } from '../../runtime/view.ts';
import { KeptBlockCache } from '../../storage/kept-cache.ts';
import { openNodeShelf } from '../../storage/node-shelf.ts';
import { systemClock } from '../../transport/platform.ts';
import type { Config, Settings } from '../config.ts';
import { nodePorts } from '../contributor.ts';
import type { NodeStatus, Question } from '../control/messages.ts';
import { claimName } from '../control/claim-name.ts';
import type { ControlServer } from '../control/server.ts';
import { drain } from '../drain.ts';
import { exitCodeOf, exitCodes } from '../exit-codes.ts';
import { loadSigner } from '../key-file.ts';
import { nodeStatus } from '../node-status.ts';
import { type Console, openConsole } from '../ops/console.ts';
import type { Gate } from '../ops/gate.ts';
import { operate, type Operations } from '../ops/operate.ts';
import { openNodeTransport } from '../p2p-transport.ts';
import { type StopRequest, stopOnRequest } from '../stop-request.ts';
import { threadCompute } from '../thread-compute.ts';
import { version } from '../version.ts';

/** A goodbye that takes longer is cut short. */
const stopMsMax = limits.stopMsMax + 500;
/** After a failure, how long what is committed may take to be settled. */
const settleMsMax = limits.revealMsMax + limits.pullMsMax;

/** Resolves with the exit code. Throws `bad_config` where there is nowhere to log to. */
export async function run(config: Config, settings: Settings): Promise<number> {
  exitOnUnhandled();
  const console = openConsole(config);
  const { log } = console;
  try {
    if (config.gpus === null) return await contribute(config, console);
    return await (await import('./run-fleet.ts')).runFleet(config, settings, console);
  } catch (error) {
    const problem = toProblem(error);
    log.error({ code: problem.code, err: error }, problem.detail);
    if (config.logLevel === 'silent') process.stderr.write(`${problem.detail}\n`);
    return exitCodeOf(problem);
  } finally {
    console.close();
  }
}

async function contribute(config: Config, { log, progress }: Console): Promise<number> {
  const signer = await loadSigner(config.keyFile);
  const socket = await claimName(config, log);
  if (socket === 'taken') return exitCodes.nameTaken;
  const request = stopOnRequest(log, config.drainMs, config.exitWithParent);
  const cache = new KeptBlockCache(await openNodeShelf(config.cacheDir, config.cacheBytes, log));
  let operations: Operations | null = null;
  try {
    const { peers, url, referee, keyFile, acceptIdentity } = config;
    const compute = computeOf(config, log);
    const alone = { ...nodePorts({ url, signer, compute, log, cache, keyFile, acceptIdentity }), referee };
    const control = createRuntime(
      peers === 'off'
        ? alone
        : exchanging(
            alone,
            (network) => openNodeTransport({ url, network, signer, choice: peers }),
            capsOf(config),
          ),
    );
    operations = await operate({ config, control, log, progress });
    log.info({ contributor: signer.address, backend: config.backend }, 'Starting.');
    const code = await untilEnd({ control, config, request, socket, operations, log });
    log.info({ code }, 'Stopped.');
    return code;
  } finally {
    await operations?.close();
    await cache.close();
    await socket?.close();
  }
}

interface Parts {
  control: ShellControl;
  config: Config;
  request: StopRequest;
  socket: ControlServer | null;
  operations: Operations;
  log: Logger;
}

/** Runs the contributor to its end, and says how that was. */
async function untilEnd({ control, config, request, socket, operations, log }: Parts): Promise<number> {
  let view = {} as ContributorView;
  await control.subscribe(viewLogger(log));
  await control.subscribe((next) => void (view = next));
  const { failed } = await watchForFailure(control, log);
  socket?.serve(handlerOf(config, request, operations.gate, () => view));
  await control.start();
  const first = await Promise.race([failed, request.asked]);
  let code: number = typeof first === 'number' ? first : exitCodes.stopped;
  if (typeof first !== 'number') {
    operations.gate.close(); // whoever held it back must not begin again what is to end
    const ended = new AbortController();
    void failed.then(() => ended.abort());
    const allowedMs = () => request.allowedMs();
    const left = await drain(control, () => view, { allowedMs, clock: systemClock, signal: ended.signal });
    if (left > 0) code = exitCodes.unsettled;
    if (left > 0) log.warn({ pending: left }, 'Stopped before every committed result was settled.');
  }
  await Promise.race([control.stop(), new Promise((resolve) => setTimeout(resolve, stopMsMax))]);
  return code;
}

/** The device, on a thread of its own. */
export function computeOf(config: Config, log: Logger): Compute {
  const { backend, allowSoftware, threads, tuningFile, kernelDir, name, gpu, nvrtc } = config;
  return threadCompute({
    ...{ backend, allowSoftware, threads, tuningFile, kernelDir, log },
    ...(name ? { name } : {}),
    ...(gpu ? { gpu } : {}),
    ...(nvrtc ? { nvrtc } : {}),
  });
}

function capsOf({ uploadMax, downloadMax }: Config): Caps {
  return {
    ...(uploadMax ? { upBytesPerSecond: uploadMax } : {}),
    ...(downloadMax ? { downBytesPerSecond: downloadMax } : {}),
  };
}

function handlerOf(
  config: Config,
  request: StopRequest,
  gate: Gate,
  view: () => ContributorView,
): (question: Question) => NodeStatus {
  const startedAt = new Date();
  return ({ command }) => {
    if (command === 'drain') request.ask('The control socket said so.', limits.pendingMsMax);
    else if (command !== 'status') {
      if (request.isAsked) throw new AtollError('conflict', 'The node is stopping.');
      if (command === 'pause') gate.hold('operator', 'Paused by the operator.', { graceMs: 0 });
      else gate.letGo('operator');
    }
    const held = [...gate.held.values()];
    const facts = { config, version, startedAt, now: new Date(), draining: request.isAsked, held };
    return nodeStatus(view(), facts);
  };
}

/** `failed` resolves with the exit code when the contributor has failed, and what is committed is settled or has had its time. */
async function watchForFailure(control: ShellControl, log: Logger): Promise<{ failed: Promise<number> }> {
  const ended = Promise.withResolvers<number>();
  let hasFailed = false;
  await control.subscribe((view) => {
    if (!view.problem || view.phase !== 'failed') return;
    if (!hasFailed) log.error({ code: view.problem.code, pending: view.pending }, view.problem.detail);
    onFailed(view, view.problem, hasFailed, ended.resolve);
    hasFailed = true;
  });
  return { failed: ended.promise };
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
function viewLogger(log: Logger): (view: ContributorView) => void {
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

function exitOnUnhandled(): void {
  process.on('unhandledRejection', (error) => {
    const { stack } = new AtollError('internal', 'A promise failed.', { cause: error });
    process.stderr.write(`${stack}\n${String(error)}\n`);
    process.exit(exitCodes.unexpected);
  });
}
