/**
 * `npm run conformance`: the whole suite (every op, every program) on the backends of this machine, as a table of op by backend: the same digest as the
 * reference's, or the first element that differs.
 *
 * Exit codes: 0 all the same, 1 something differs or failed, 2 an option that cannot be used, or a backend that was named and is not here.
 */
import { writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type Column, makeDocument } from '#kernels/device/conformance-document.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { ensureWasm } from './build-wasm.ts';
import { tableOf } from './conformance/table.ts';
import { packageVersions, type Target, targets } from './conformance/targets.ts';

const minutesMax = 15;

const help = `npm run conformance -- [options]

Runs every op and every program on the backends of this machine and compares the bits with the committed ones of the reference.

  --backend ID      only this one; may be repeated, or several with commas
  --all             also those that take minutes: other WGSL compilers, drivers and browsers, where they are installed
  --json            one JSON document on stdout; everything else goes to stderr
  --out FILE        the same document into a file, to share
  --help            this text

Backends (* in a run that names none)
${targets.map(({ id, title, usual }) => `  ${usual ? '*' : ' '} ${id.padEnd(20)} ${title}`).join('\n')}

Exit codes: 0 all the same, 1 something differs, 2 an option is wrong or a backend that was named is not here.`;

export interface Options {
  help: boolean;
  json: boolean;
  out: string | null;
  chosen: readonly Target[];
  /** Whether the backends were named, so that none of them may be missing. */
  named: boolean;
}

/** Throws `bad_config`. */
export function parseOptions(argv: string[], base: string): Options {
  let parsed;
  try {
    parsed = parseArgs({
      args: argv,
      options: {
        backend: { type: 'string', multiple: true, default: [] },
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        out: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    throw new AtollError('bad_config', `${reason} \`npm run conformance -- --help\` lists the options.`);
  }
  const { values } = parsed;
  const names = values.backend.flatMap((text) => text.split(',')).map((name) => name.trim());
  const unknown = names.find((name) => !targets.some(({ id }) => id === name));
  if (unknown !== undefined) {
    const ids = targets.map(({ id }) => id).join(', ');
    throw new AtollError('bad_config', `There is no backend "${unknown}". There are: ${ids}.`);
  }
  const chosen =
    names.length > 0
      ? targets.filter(({ id }) => names.includes(id))
      : targets.filter(({ usual }) => usual || values.all);
  const out = values.out === undefined ? null : path.resolve(base, values.out);
  return { help: values.help, json: values.json, out, chosen, named: names.length > 0 };
}

type Say = (line: string) => void;

/** Examines one backend; a backend that is not here, or fails as a whole, is a column with the reason. */
async function examineTarget(target: Target, stop: AbortSignal, say: Say): Promise<Column> {
  const { id, title } = target;
  const signal = AbortSignal.any([stop, AbortSignal.timeout(minutesMax * 60_000)]);
  const showProgress = process.stderr.isTTY;
  try {
    const report = await target.run({
      signal,
      progress: (done, total, outcome) => {
        if (showProgress) process.stderr.write(`\r\x1b[K${id}: ${done} of ${total}, ${outcome.id}`);
      },
    });
    if (showProgress) process.stderr.write('\r\x1b[K');
    const bad = report.outcomes.filter((outcome) => !outcome.same).length;
    const verdict = bad === 0 ? 'all the same' : `${bad} DIFFER`;
    say(`${id}: ${report.outcomes.length} cases, ${verdict} (${report.info.label}, ${report.seconds} s)`);
    return { id, title, report };
  } catch (error) {
    stop.throwIfAborted();
    if (showProgress) process.stderr.write('\r\x1b[K');
    const { message } = error as Error;
    const reason = signal.aborted ? `it took more than ${minutesMax} minutes` : message;
    const isAbsent = codeOf(error) === 'no_device';
    say(`${id}: ${isAbsent ? 'not here' : 'FAILED'}: ${reason}`);
    if (isAbsent) return { id, title, absent: reason };
    const info = { backend: 'webgpu', label: title, vendor: '', software: true } as const;
    return {
      id,
      title,
      report: { info, seconds: 0, outcomes: [{ id: 'start', same: false, error: reason }] },
    };
  }
}

async function run({ chosen, json, out, named }: Options, stop: AbortSignal): Promise<number> {
  const say: Say = (line) => void (json ? process.stderr : process.stdout).write(`${line}\n`);
  await ensureWasm();
  const columns: Column[] = [];
  for (const target of chosen) columns.push(await examineTarget(target, stop, say));
  say('');
  for (const line of tableOf(columns)) say(line);
  const document = makeDocument(columns, {
    device: `${os.cpus()[0]?.model ?? 'unknown CPU'}, ${os.availableParallelism()} cores, ${os.platform()} ${os.arch()}`,
    versions: { node: process.version, ...packageVersions() },
    date: new Date(),
  });
  if (out !== null) {
    await writeFile(out, `${JSON.stringify(document, null, 1)}\n`).catch((cause: Error) => {
      throw new AtollError('bad_config', `--out ${out} cannot be written: ${cause.message}`, { cause });
    });
    say(`written to ${out}`);
  }
  if (json) process.stdout.write(`${JSON.stringify(document)}\n`);
  const isDifferent = columns.some(({ report }) => report?.outcomes.some((outcome) => !outcome.same));
  if (isDifferent) return 1;
  const isMissing = columns.some(({ report }) => !report);
  return (named && isMissing) || columns.every(({ report }) => !report) ? 2 : 0;
}

async function main(): Promise<number> {
  const stopping = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());
  try {
    const options = parseOptions(process.argv.slice(2), process.env['INIT_CWD'] ?? process.cwd());
    if (!options.help) return await run(options, stopping.signal);
    console.log(help);
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const expected = error instanceof AtollError && codeOf(error) !== 'internal';
    process.stderr.write(`atoll: ${expected ? error.message : (error as Error).stack}\n`);
    return expected ? 2 : 1;
  }
}

if (import.meta.main) process.exit(await main());
