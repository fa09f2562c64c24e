/**
 * The identities of the servers that this machine has worked for, as SSH knows its hosts: the first one that an address shows is pinned, and from then on no other.
 *
 * One small file for each address, so that contributors which share the folder do not write over each other. A network that moves to another address is known there by its
 * own id. A server without an identity (an old version) is taken as long as none was pinned.
 */
import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Hex } from 'viem';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { addressSchema, bytes32Schema } from '#protocol/messages/hex.ts';
import type { Logger, ServerPins } from '../runtime/ports.ts';

const pinSchema = v.object({
  url: v.string(),
  network: bytes32Schema,
  identity: addressSchema,
  since: v.string(),
});
type Pin = v.InferOutput<typeof pinSchema>;

/** A pin is a few hundred bytes, and a folder has a handful. */
const pinCharsMax = 4_096;
const pinsMax = 1_000;

export interface PinOptions {
  folder: string;
  /** The coordinator's http(s) address. */
  url: string;
  /** Take whatever identity the server has now, once. */
  accept: boolean;
  log: Logger;
}

/** Where the pins of the contributor with this key are: beside the key. */
export function pinFolder(keyFile: string): string {
  return path.join(path.dirname(keyFile), 'servers');
}

export function filePins({ folder, url, accept, log }: PinOptions): ServerPins {
  const origin = new URL(url).origin;
  const place = path.join(folder, `${createHash('sha256').update(origin).digest('hex').slice(0, 32)}.json`);
  let mayChange = accept;

  /** As asked, and once. */
  const replace = async (network: Hex, address: Hex | null, was: Hex) => {
    if (address === null) await rm(place, { force: true });
    else await write(folder, place, pinOf(origin, network, address), true);
    await forgetOthers(folder, place, network);
    log.warn({ was, is: address ?? 'none' }, `The new identity of ${origin} was accepted, as asked.`);
  };

  return {
    async check(network, address) {
      const accepts = mayChange;
      mayChange = false;
      const own = await readPin(place);
      const known = own ?? (await pinOfNetwork(folder, network));
      if (known && known.identity === address) {
        if (!own) await write(folder, place, pinOf(origin, network, address), false);
        return;
      }
      if (known && !accepts) throw changed(origin, known, address);
      if (known) return replace(network, address, known.identity);
      if (address === null) return;
      const first = await write(folder, place, pinOf(origin, network, address), false);
      if (first.identity !== address) throw changed(origin, first, address);
      log.info(
        { identity: address },
        `The identity of ${origin} is pinned: no other server is taken for it.`,
      );
    },
  };
}

function pinOf(url: string, network: Hex, identity: Hex): Pin {
  return { url, network, identity, since: new Date().toISOString() };
}

function changed(origin: string, { identity, since }: Pin, address: Hex | null): AtollError {
  const is = address === null ? 'the server there now has no identity' : `the server there now is ${address}`;
  const words = [
    `${origin} was pinned as ${identity} on ${since.slice(0, 10)}, but ${is}.`,
    'Somebody may be posing as the coordinator, or its database was replaced.',
    'Ask whoever runs it. If the change is right, start once with --accept-identity.',
  ];
  return new AtollError('wrong_server', words.join(' '), {
    details: { pinned: identity, ...(address === null ? {} : { shown: address }) },
  });
}

/** Null where there is none. Throws `bad_config` for a file that is no pin: it is never taken for a missing one. */
async function readPin(place: string): Promise<Pin | null> {
  let text: string;
  try {
    text = await readFile(place, 'utf8');
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return null;
    throw unreadable(place, cause);
  }
  try {
    if (text.length > pinCharsMax) throw new Error('too long');
    return v.parse(pinSchema, JSON.parse(text));
  } catch (cause) {
    throw unreadable(place, cause);
  }
}

function unreadable(place: string, cause: unknown): AtollError {
  const words = `The file ${place}, which says who the coordinator is, cannot be read. Remove it to pin the server anew.`;
  return new AtollError('wrong_server', words, { cause });
}

/** What a network was known by at another address. */
async function pinOfNetwork(folder: string, network: Hex): Promise<Pin | null> {
  for (const place of await pinFiles(folder)) {
    const pin = await readPin(place);
    if (pin?.network === network) return pin;
  }
  return null;
}

async function pinFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [] as string[]);
  const own = names.filter((name) => name.endsWith('.json')).slice(0, pinsMax);
  return own.map((name) => path.join(folder, name));
}

/** Written whole under another name. Without `overwrite` the first of two writers wins; returns what is there then. */
async function write(folder: string, place: string, pin: Pin, overwrite: boolean): Promise<Pin> {
  const draft = `${place}.${randomUUID()}.new`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(draft, `${JSON.stringify(pin, null, 2)}\n`, { flag: 'wx', mode: 0o600, flush: true });
    if (overwrite) await rename(draft, place);
    else await link(draft, place).catch(unlessThere);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AtollError(
      'storage_failed',
      `The identity of the server cannot be kept in ${folder} (${code}).`,
      {
        cause,
      },
    );
  } finally {
    await rm(draft, { force: true }).catch(() => undefined);
  }
  return (await readPin(place)) ?? pin;
}

function unlessThere(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
}

/** The network's pins at other addresses are of its old identity. */
async function forgetOthers(folder: string, place: string, network: Hex): Promise<void> {
  for (const other of await pinFiles(folder)) {
    if (other !== place && (await readPin(other))?.network === network) await rm(other, { force: true });
  }
}
