/**
 * The config file: one JSON object of options by their names, such as `{"url": "https://...", "threads": 4, "referee": true}`.
 *
 * Unknown keys are refused with the nearest known one. Relative paths are taken from the file's folder.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';
import { badConfig } from './option-kinds.ts';
import { hint } from './nearest.ts';
import { isInFile, type OptionName, optionNames, type OptionSpec, specOf } from './options.ts';

export const configBytesMax = 64 << 10;

/** The texts of its options; null where there is no such file. Throws `bad_config` naming the file and the key. */
export function readConfigFile(file: string): Map<OptionName, string> | null {
  const text = readSmall(file);
  if (text === null) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    // V8 quotes what it read, which might be a secret: only where it failed is passed on.
    const [where = ''] = /at position \d+( \(line \d+ column \d+\))?/.exec((error as Error).message) ?? [];
    throw badConfig(`The config file ${file} is not JSON ${where}`.trimEnd());
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw badConfig(`The config file ${file} must hold one JSON object`);
  }
  return new Map(Object.entries(parsed).map(([key, value]) => textOf(file, key, value)));
}

function textOf(file: string, key: string, value: unknown): [OptionName, string] {
  const known = optionNames.filter(isInFile);
  const name = known.find((one) => one === key);
  if (!name) {
    const given = key.slice(0, 60);
    if ((optionNames as string[]).includes(key)) {
      throw badConfig(`The config file ${file}: "${given}" is for the command line only`);
    }
    throw badConfig(
      `The config file ${file} has an unknown key "${given}".${hint(given, known, (one) => `"${one}"`)}`,
    );
  }
  const spec = specOf(name);
  const text = asText(spec, value);
  if (text === null) throw badConfig(`The config file ${file}: "${name}" takes ${typesOf(spec)}`);
  return [name, spec.kind.isPath ? path.resolve(path.dirname(file), text) : text];
}

function asText({ kind }: OptionSpec, value: unknown): string | null {
  if (typeof value === 'string' && kind.json !== 'boolean') return value;
  if (kind.json === 'number' && typeof value === 'number') return String(value);
  if (kind.json === 'boolean' && typeof value === 'boolean') return String(value);
  if (kind.json === 'list' && Array.isArray(value)) return value.map(String).join(',');
  return null;
}

function typesOf({ kind }: OptionSpec): string {
  if (kind.json === 'boolean') return 'true or false';
  if (kind.json === 'number') return 'a number';
  return kind.json === 'list' ? 'a list, or text with commas' : 'text';
}

function readSmall(file: string): string | null {
  let handle: number | null = null;
  try {
    handle = openSync(file, 'r');
    const { size } = fstatSync(handle);
    if (size > configBytesMax)
      throw badConfig(`The config file ${file} is larger than ${configBytesMax} bytes`);
    return readFileSync(handle, 'utf8');
  } catch (error) {
    if (error instanceof AtollError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    // A data folder that is a file is told by whoever makes the key in it.
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw badConfig(`The config file ${file} cannot be read (${code})`);
  } finally {
    if (handle !== null) closeSync(handle);
  }
}
