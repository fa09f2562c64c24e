/**
 * `atoll node run --gpus`: a process for each graphics processor, and this one to speak for them. Each of them has a control socket too, by its own name.
 */
import type { Logger } from '../../runtime/ports.ts';
import { type Config, labelOf, type Settings } from '../config.ts';
import { claimName } from '../control/claim-name.ts';
import type { NodeStatus, Question } from '../control/messages.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Console } from '../ops/console.ts';
import { type Fleet, superviseGpus } from '../ops/fleet.ts';
import { fleetStatus } from '../node-status.ts';
import { stopOnRequest, type StopRequest } from '../stop-request.ts';
import { version } from '../version.ts';

/** Resolves with the exit code. Throws `no_device` where a processor that was named is not there. */
export async function runFleet(config: Config, settings: Settings, console: Console): Promise<number> {
  const { log, progress, childOutput } = console;
  const socket = await claimName(config, log);
  if (socket === 'taken') return exitCodes.nameTaken;
  try {
    const fleet = await superviseGpus({
      ...{ config, settings: settings.settings, log, progress },
      ...(childOutput === undefined ? {} : { childOutput }),
    });
    const request = stopOnRequest(log, config.drainMs, config.exitWithParent, () => fleet.stop());
    void request.asked.then(() => fleet.stop());
    socket?.serve(handlerOf(config, fleet, request, log));
    return await fleet.ended;
  } finally {
    await socket?.close();
  }
}

function handlerOf(
  config: Config,
  fleet: Fleet,
  request: StopRequest,
  log: Logger,
): (question: Question) => NodeStatus {
  const startedAt = new Date();
  return ({ command }) => {
    log.debug({ command }, 'The control socket was asked.');
    if (command === 'drain') request.ask('The control socket said so.', config.drainMs);
    if (command === 'pause') fleet.pause();
    if (command === 'resume') fleet.resume();
    const facts = { config, version, startedAt, now: new Date(), draining: request.isAsked, held: [] };
    return fleetStatus(labelOf(config), fleet.states(), facts);
  };
}
