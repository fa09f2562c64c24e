/** How a node's process ends, for a supervisor to act on: what may be started again at once, later, or only after somebody has looked. */
import { codeOf, type Problem } from '#protocol/errors.ts';

export const exitCodes = {
  stopped: 0,
  unexpected: 1,
  badConfig: 2,
  noDevice: 3,
  nonconforming: 4,
  refused: 5,
  deviceFailed: 6,
  unsettled: 7,
  nameTaken: 8,
  identityChanged: 9,
  stoppedAtOnce: 130,
} as const;

/** In words, for help and docs. */
export const exitWords: Readonly<Record<keyof typeof exitCodes, string>> = {
  stopped: 'stopped on request, nothing left open',
  unexpected: 'an unexpected error; the log has it. Of doctor: a check failed',
  badConfig: 'a setting is not usable',
  noDevice: 'no device: the backend that was asked for is not there',
  nonconforming: 'the device gave other bits than the reference in the conformance probe',
  refused: 'the coordinator refused this contributor',
  deviceFailed: 'the device was lost, is too small or too slow, or its programs kept failing',
  unsettled:
    'stopped on request before every committed result was settled; kept results are revealed after the next start',
  nameTaken: 'another node runs under this name. Of pause, resume, drain and status: no node does',
  identityChanged: 'the coordinator is not the one that was pinned; see --accept-identity',
  stoppedAtOnce: 'a second signal stopped it at once',
};

export function exitCodeOf(problem: Problem): number {
  switch (codeOf(problem)) {
    case 'bad_config':
      return exitCodes.badConfig;
    case 'wrong_server':
      return exitCodes.identityChanged;
    case 'no_device':
      return exitCodes.noDevice;
    case 'nonconforming':
      return exitCodes.nonconforming;
    case 'device_lost':
    case 'out_of_memory':
    case 'unavailable': // units took longer than their leases
      return exitCodes.deviceFailed;
    case 'internal':
      return exitCodes.unexpected;
    default:
      return exitCodes.refused;
  }
}
