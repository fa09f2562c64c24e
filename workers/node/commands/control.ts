/**
 * `atoll node status | pause | resume | drain`: spoken to a running node over its control socket. Without --name the one node of the data folder is meant;
 * `status` shows them all.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { AtollError } from '#protocol/errors.ts';
import { labelOf, type Settings } from '../config.ts';
import { namesIn } from '../control/address.ts';
import { ask, isAbsent, statusOf } from '../control/client.ts';
import type { NodeStatus, Question } from '../control/messages.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import { statusText } from './status-text.ts';

const lookMs = 300;

export interface ControlOptions {
  command: Question['command'];
  settings: Settings;
  json: boolean;
  /** Of `drain`: until the node has stopped. */
  wait: boolean;
}

/** Resolves with the exit code. */
export async function controlNode(options: ControlOptions, out: Output): Promise<number> {
  const { command, settings, json } = options;
  const { name, 'data-dir': dataDir } = settings.values;
  try {
    if (command === 'status' && name === undefined) return await showAll(dataDir, json, out);
    const label = name ?? (await onlyNode(dataDir));
    const status = await ask(dataDir, label, { command });
    if (command !== 'drain' || !options.wait) return show(command, status, json, out);
    return await untilGone(dataDir, label, status, json, out);
  } catch (error) {
    if (!isAbsent(error)) throw error;
    out.note(`No node named "${labelOf({ name })}" runs with the data folder ${dataDir}.`);
    return exitCodes.nameTaken;
  }
}

async function showAll(dataDir: string, json: boolean, out: Output): Promise<number> {
  const found = await running(dataDir);
  if (json) out.print(JSON.stringify(found.length === 1 ? found[0] : found, null, 2));
  else if (found.length > 0) out.print(found.map((status) => statusText(status, out)).join('\n\n'));
  if (found.length > 0) return 0;
  out.note(`No node runs with the data folder ${dataDir}. Start one: atoll node --url URL`);
  return exitCodes.nameTaken;
}

async function running(dataDir: string): Promise<NodeStatus[]> {
  const names = await namesIn(dataDir);
  const all = await Promise.all(names.map((name) => statusOf(dataDir, name)));
  return all.filter((status) => status !== null);
}

/** Its name; the default one when there is none, so that the words about it are the usual ones. */
async function onlyNode(dataDir: string): Promise<string> {
  const found = await running(dataDir);
  if (found.length <= 1) return labelOf({ name: found[0]?.name ?? null });
  const names = found.map(({ name }) => name).join(', ');
  throw new AtollError('bad_config', `Several nodes run here (${names}): say which with --name.`);
}

const words: Record<Question['command'], (status: NodeStatus) => string> = {
  status: () => '',
  pause: ({ name }) => `${name} is paused; \`atoll node resume\` goes on.`,
  resume: ({ name, held }) =>
    held.length > 0 ? `${name} is not paused any more. ${held.join(' ')}` : `${name} takes units again.`,
  drain: ({ name }) => `${name} drains.`,
};

function show(command: Question['command'], status: NodeStatus, json: boolean, out: Output): number {
  if (json) out.print(JSON.stringify(status, null, 2));
  else out.print(command === 'status' ? statusText(status, out) : words[command](status));
  return 0;
}

async function untilGone(
  dataDir: string,
  name: string,
  first: NodeStatus,
  json: boolean,
  out: Output,
): Promise<number> {
  let last = first;
  let said = '';
  for (let next: NodeStatus | null = first; next; next = await statusOf(dataDir, name)) {
    last = next;
    if (next.pid !== first.pid) break; // its supervisor has started another
    if (!json && next.reason !== said) out.note(`${name}: ${next.reason}`);
    said = next.reason;
    await sleep(lookMs);
  }
  if (json) out.print(JSON.stringify(last, null, 2));
  else out.print(`${name} has stopped.`);
  return 0;
}
