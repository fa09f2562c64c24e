/**
 * The control socket of a running node. It is also the node's name: who has the socket is the node of that name in that folder, and a second is refused.
 *
 * A socket is made under another name with mode 0600 and linked to its own, so that nobody can connect before the mode holds and of two that start at once one
 * wins. What a killed node left is told by that nobody listens on it.
 */
import { randomUUID } from 'node:crypto';
import { chmod, link, mkdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import * as v from 'valibot';
import { AtollError, toProblem } from '#protocol/errors.ts';
import type { Logger } from '../../runtime/ports.ts';
import { type Address, openAddress } from './address.ts';
import { isAbsent } from './client.ts';
import {
  type Answer,
  type NodeStatus,
  type Question,
  questionBytesMax,
  questionSchema,
  silenceMsMax,
} from './messages.ts';

const connectionsMax = 8;
const claimTriesMax = 3;

/** Does what is asked and tells how things are then. */
export type Handler = (question: Question) => NodeStatus | Promise<NodeStatus>;

export interface ControlServer {
  /** From now on these are asked; until then a caller is told that the node starts. */
  serve(handler: Handler): void;
  close(): Promise<void>;
}

/** Throws `conflict` when a node of this name runs; the system's error where there can be no socket. */
export async function openControl(dataDir: string, name: string, log: Logger): Promise<ControlServer> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const address = openAddress(dataDir, name);
  const sockets = new Set<Socket>();
  let handler: Handler | null = null;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    hear(socket, (question) => {
      if (!handler) throw new AtollError('unavailable', 'The node is starting.');
      return handler(question);
    });
  });
  server.maxConnections = connectionsMax;
  server.on('error', (error) => log.warn({ err: error }, 'The control socket failed.'));
  try {
    const inode = await claim(server, address, name);
    server.unref();
    return {
      serve: (next) => void (handler = next),
      close: async () => {
        for (const socket of sockets) socket.destroy();
        await removeOwn(address, inode);
        await new Promise<void>((resolve) => server.close(() => resolve()));
        address.close();
      },
    };
  } catch (error) {
    server.close();
    address.close();
    throw error;
  }
}

/** Listens, and takes the name. Resolves with the socket's inode. */
async function claim(server: Server, address: Address, name: string): Promise<number> {
  if (process.platform === 'win32') {
    await listen(server, address.path).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'EADDRINUSE' ? taken(name) : error;
    });
    return 0;
  }
  const room = address.beside(`.${randomUUID().slice(0, 8)}`);
  await mkdir(room, { mode: 0o700 });
  const draft = path.join(room, 's');
  try {
    await listen(server, draft);
    await chmod(draft, 0o600);
    for (let tries = 1; ; tries++) {
      try {
        await link(draft, address.path);
        return (await stat(draft)).ino;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || tries === claimTriesMax) throw error;
        await removeStale(address, name);
      }
    }
  } finally {
    await rm(room, { recursive: true, force: true });
  }
}

/** Throws `conflict` when somebody listens, or when what lies there is no socket. */
async function removeStale(address: Address, name: string): Promise<void> {
  const found = await stat(address.path).catch(() => null);
  if (!found) return;
  if (!found.isSocket()) {
    throw new AtollError('bad_config', `${address.file} is in the way of the control socket: move it away.`);
  }
  if (await isHeard(address.path)) throw taken(name);
  // Moved aside first: what was put there in the meantime is not what was found dead.
  const aside = address.beside(`.${randomUUID().slice(0, 8)}`);
  await rename(address.path, aside).catch(() => {});
  const moved = await stat(aside).catch(() => null);
  if (moved && moved.ino !== found.ino) await link(aside, address.path).catch(() => {});
  await unlink(aside).catch(() => {});
}

function taken(name: string): AtollError {
  return new AtollError(
    'conflict',
    `A node named "${name}" runs already with this data folder. Give this one another --name, or stop the other: atoll node drain --name ${name}`,
  );
}

async function removeOwn({ path: own }: Address, inode: number): Promise<void> {
  const found = await stat(own).catch(() => null);
  if (found?.ino === inode) await unlink(own).catch(() => {});
}

function listen(server: Server, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Whether anybody listens there. One that is too busy to take a call does. */
function isHeard(where: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(where);
    socket.setTimeout(silenceMsMax, () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.on('error', (error) => resolve(!isAbsent(error)));
  });
}

/** One line in, one out. Whatever is said beyond, or too slowly, ends the connection. */
function hear(socket: Socket, handle: Handler): void {
  let text = '';
  let isHeardOut = false;
  socket.setEncoding('utf8');
  socket.setTimeout(silenceMsMax, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  const answer = async (line: string) => {
    isHeardOut = true;
    socket.end(`${JSON.stringify(await answerTo(line, handle))}\n`);
  };
  socket.on('data', (chunk: string) => {
    if (isHeardOut) return;
    text += chunk;
    const end = text.indexOf('\n');
    if (end >= 0 && end <= questionBytesMax) void answer(text.slice(0, end));
    else if (end > questionBytesMax || text.length > questionBytesMax) void answer('');
  });
  socket.on('end', () => isHeardOut || socket.destroy());
}

async function answerTo(line: string, handle: Handler): Promise<Answer> {
  try {
    return { ok: true, status: await handle(parse(line)) };
  } catch (error) {
    return { ok: false, problem: toProblem(error) };
  }
}

function parse(line: string): Question {
  try {
    return v.parse(questionSchema, JSON.parse(line));
  } catch {
    throw new AtollError(
      'bad_request',
      'Send one line of JSON: {"command": "status"}, or pause, resume, drain.',
    );
  }
}
