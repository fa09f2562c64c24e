/** Asks a running node over its control socket. */
import { connect } from 'node:net';
import * as v from 'valibot';
import { AtollError, fromProblem } from '#protocol/errors.ts';
import { openAddress } from './address.ts';
import { answerBytesMax, answerSchema, type NodeStatus, type Question, silenceMsMax } from './messages.ts';

/** Nobody answers there. */
export function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ECONNREFUSED', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/**
 * The status after the command was taken. Throws what the node answered, the system's error where no node is (`isAbsent`), and `unavailable` where
 * whatever is there does not speak as a node.
 */
export async function ask(dataDir: string, name: string, question: Question): Promise<NodeStatus> {
  const text = await exchange(dataDir, name, `${JSON.stringify(question)}\n`);
  const parsed = v.safeParse(answerSchema, parsedOrNull(text));
  if (!parsed.success) {
    throw new AtollError('unavailable', `The node "${name}" gave no answer that can be read.`);
  }
  if (!parsed.output.ok) throw fromProblem(parsed.output.problem);
  return parsed.output.status;
}

/** Null where no node is. */
export async function statusOf(dataDir: string, name: string): Promise<NodeStatus | null> {
  try {
    return await ask(dataDir, name, { command: 'status' });
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

function exchange(dataDir: string, name: string, line: string): Promise<string> {
  const address = openAddress(dataDir, name);
  return new Promise<string>((resolve, reject) => {
    const socket = connect(address.path);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(silenceMsMax, () => {
      socket.destroy(new AtollError('unavailable', `The node "${name}" does not answer.`));
    });
    socket.on('connect', () => socket.end(line));
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > answerBytesMax)
        socket.destroy(new AtollError('too_large', 'The answer is too large.'));
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  }).finally(() => address.close());
}

function parsedOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
