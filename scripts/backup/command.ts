/** What `npm run backup` and `npm run restore` have in common: their options, and where the coordinator keeps its state. */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { blockStoreOf, parseConfig } from '#coordinator/config.ts';
import type { Backup, Place } from '#coordinator/storage/backup.ts';
import { openS3Blobs } from '#coordinator/storage/blobs-s3.ts';
import { AtollError, codeOf } from '#protocol/errors.ts';

export interface Command {
  /** The option that names the backup's folder. */
  option: 'to' | 'from';
  help: string;
  run(place: Place, folder: string, signal: AbortSignal): Promise<Backup>;
  says(made: Backup, folder: string): string;
}

interface Options {
  folder: string | undefined;
  dataDir: string;
  help: boolean;
}

function parse(argv: readonly string[], env: NodeJS.ProcessEnv, { option }: Command): Options {
  const base = env['INIT_CWD'] ?? process.cwd();
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        [option]: { type: 'string' },
        'data-dir': { type: 'string', default: env['ATOLL_DATA_DIR'] ?? '.data' },
        help: { type: 'boolean', default: false },
      },
    });
    const folder = values[option];
    return {
      folder: typeof folder === 'string' ? path.resolve(base, folder) : undefined,
      dataDir: path.resolve(base, String(values['data-dir'])),
      help: values['help'] === true,
    };
  } catch (cause) {
    throw new AtollError('bad_config', `${(cause as Error).message}. --help lists the options.`, { cause });
  }
}

async function placeOf(dataDir: string, env: NodeJS.ProcessEnv): Promise<Place> {
  const config = parseConfig({ dataDir }, env);
  const s3 = blockStoreOf(config);
  return {
    dataDir,
    databaseUrl: config.databaseUrl === '' ? null : config.databaseUrl,
    ...(s3 ? { blobs: await openS3Blobs(s3) } : {}),
  };
}

/** Resolves with the exit code: 0 done, 2 not, 130 interrupted. */
export async function runCommand(command: Command): Promise<number> {
  const stopping = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());
  try {
    const { folder, dataDir, help } = parse(process.argv.slice(2), process.env, command);
    if (help || folder === undefined) {
      console.log(command.help);
      return help ? 0 : 2;
    }
    const made = await command.run(await placeOf(dataDir, process.env), folder, stopping.signal);
    console.log(command.says(made, folder));
    return 0;
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const expected = error instanceof AtollError && codeOf(error) !== 'internal';
    process.stderr.write(`atoll: ${expected ? error.message : (error as Error).stack}\n`);
    return 2;
  }
}
