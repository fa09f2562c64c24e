/**
 * A GPU's tuned shapes in a JSON file, by adapter. Written whole under another name and renamed, so that a reader never sees half of it; of two
 * contributors that write at once one choice may be lost, which costs a trial.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as v from 'valibot';
import type { TuningPort } from '#kernels/index.ts';
import { AtollError } from '#protocol/errors.ts';

const schema = v.record(v.string(), v.string());

/** `warn` hears that the file cannot be used; no device stops for it. */
export function fileTuning(file: string, warn: (error: unknown) => void): TuningPort {
  return {
    get: async (key) => {
      const choices = await readChoices(file);
      return Object.hasOwn(choices, key) ? (choices[key] as string) : null;
    },
    set: async (key, value) => {
      // What is no tuning file is replaced.
      const choices = await readChoices(file).catch(() => ({}));
      await writeWhole(file, `${JSON.stringify({ ...choices, [key]: value }, null, 2)}\n`);
    },
    failed: (cause) => {
      const detail = `The GPU could not be tuned, or not keep it in ${file}: it is tried again at each start.`;
      warn(new AtollError('bad_config', detail, { cause }));
    },
  };
}

async function readChoices(file: string): Promise<Record<string, string>> {
  try {
    return v.parse(schema, JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomUUID()}.new`;
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  try {
    await writeFile(draft, text, { flag: 'wx', mode: 0o600 });
    await rename(draft, file);
  } finally {
    await rm(draft, { force: true });
  }
}
