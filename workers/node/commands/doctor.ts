/** `atoll node doctor`: everything a node of these settings needs, checked in order; each failure with its remedy. */
import { AtollError } from '#protocol/errors.ts';
import { configOf, type Settings } from '../config.ts';
import { type Check, type CheckSpec, type CheckState, runChecks } from '../doctor/check.ts';
import { deviceChecks, type DevicePorts } from '../doctor/device.ts';
import { machineChecks, type MachinePorts, realMachine } from '../doctor/machine.ts';
import { networkChecks, type NetworkPorts } from '../doctor/network.ts';
import { realDevices } from '../doctor/trial.ts';
import type { Output } from '../output.ts';
import { version } from '../version.ts';
import { plain } from './status-text.ts';

export interface DoctorPorts {
  machine: MachinePorts;
  network: NetworkPorts;
  devices: DevicePorts;
}

export interface Diagnosis {
  ok: boolean;
  version: string;
  checks: Check[];
}

/** Where no coordinator is named, the settings are completed with this; nothing is sent there. */
const nowhere = 'http://127.0.0.1';

/** Throws `bad_config` on settings that speak against each other. `told` hears each check as it ends. */
export async function diagnose(
  settings: Settings,
  ports: Partial<DoctorPorts> = {},
  told: (check: Check) => void = () => {},
): Promise<Diagnosis> {
  const { url } = settings.values;
  const config = configOf({ ...settings.values, url: url ?? nowhere });
  const network = ports.network ?? { env: process.env, now: () => Date.now() };
  const specs: CheckSpec[] = [
    ...machineChecks(config, ports.machine ?? realMachine),
    ...networkChecks(config, url ?? null, network),
    ...deviceChecks(config, ports.devices ?? realDevices(config)),
  ];
  const checks = await runChecks(specs, told);
  return { ok: checks.every(({ state }) => state !== 'fail'), version, checks };
}

const marks: Record<CheckState, [number, string]> = {
  ok: [32, '✓'],
  warn: [33, '!'],
  fail: [31, '✗'],
  skipped: [2, '–'],
};

/** Resolves with 0 when nothing failed, else with 1. */
export async function doctor(settings: Settings, isJson: boolean, out: Output): Promise<number> {
  const show = (check: Check) => {
    const [colour, mark] = marks[check.state];
    out.print(`${out.colour(colour, mark)} ${out.bold(check.title)}: ${plain(check.detail)}`);
    if (check.fix) out.print(`    ${plain(check.fix)}`);
  };
  const diagnosis = await diagnose(settings, {}, isJson ? () => {} : show);
  if (isJson) out.print(JSON.stringify(diagnosis, null, 2));
  else out.print(`\n${summary(diagnosis)}`);
  return diagnosis.ok ? 0 : 1;
}

function summary({ checks }: Diagnosis): string {
  const count = (state: CheckState) => checks.filter((check) => check.state === state).length;
  const [failed, warned] = [count('fail'), count('warn')];
  if (failed > 0) return `${failed} of ${checks.length} checks failed; each says what to do.`;
  return warned > 0 ? `A node can run here; ${warned} things could be better.` : 'A node can run here.';
}

/** For tests of the words: a check by its id. */
export function checkOf({ checks }: Diagnosis, id: string): Check {
  const found = checks.find((check) => check.id === id);
  if (!found) throw new AtollError('internal', `There is no check ${id}.`);
  return found;
}
