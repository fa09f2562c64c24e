/**
 * `npm run keys -- make NAME | list | end ID`: API keys of the operator's, in the database of a coordinator, which may be running meanwhile.
 *
 * A key is printed once and stored as a hash. Exit codes: 0 done, 1 unexpected, 2 an option that cannot be used.
 */
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { keyNameSchema, type Scope, scopeSchema } from '#protocol/http/accounts.ts';
import { parseConfig } from '#coordinator/config.ts';
import { ApiKeys } from '#coordinator/routes/api-keys.ts';
import { systemClock, systemRandom } from '#coordinator/service/ports.ts';
import type { Storage } from '#coordinator/storage/port.ts';
import { openPostgresStorage } from '#coordinator/storage/postgres/postgres-storage.ts';
import { openSqliteStorage } from '#coordinator/storage/sqlite/sqlite-storage.ts';

const help = `npm run keys -- make NAME [--scope jobs|operate ...] [--days N] | list | end ID

Makes, lists and ends API keys of the operator's. A key with the scope jobs (the default) starts jobs, one with operate reads /metrics.
The database is that of --data-dir DIR (.data unless given) or DATABASE_URL. The coordinator may be running.`;

const dayMs = 24 * 60 * 60_000;

interface Order {
  dataDir?: string;
  scopes: readonly Scope[];
  days: number | null;
  words: readonly string[];
}

function parseOrder(args: readonly string[]): Order | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      scope: { type: 'string', multiple: true },
      days: { type: 'string' },
      'data-dir': { type: 'string' },
    },
  });
  if (values.help || positionals.length === 0) return null;
  const days = values.days === undefined ? null : Number(values.days);
  if (days !== null && !(days > 0)) throw new AtollError('bad_config', '--days takes a number above 0.');
  const scopes = v.safeParse(v.array(scopeSchema), values.scope ?? ['jobs']);
  if (!scopes.success) throw new AtollError('bad_config', '--scope is jobs or operate.');
  const dataDir = values['data-dir'];
  return { scopes: scopes.output, days, words: positionals, ...(dataDir === undefined ? {} : { dataDir }) };
}

async function openDatabase(dataDir: string, databaseUrl: string): Promise<Storage> {
  const network = systemRandom.bytes32();
  if (databaseUrl !== '') return openPostgresStorage({ url: databaseUrl, network });
  if (!existsSync(dataDir)) mkdirSync(dataDir, { recursive: true });
  return openSqliteStorage({ path: path.join(dataDir, 'atoll.sqlite'), network });
}

async function run({ words: [verb, word], scopes, days, ...rest }: Order): Promise<void> {
  const flags =
    rest.dataDir === undefined ? {} : { dataDir: path.resolve(process.env['INIT_CWD'] ?? '.', rest.dataDir) };
  const { dataDir, databaseUrl } = parseConfig(flags, process.env);
  const storage = await openDatabase(dataDir, databaseUrl);
  try {
    const keys = new ApiKeys({ shelf: storage.shelf, clock: systemClock, random: systemRandom });
    if (verb === 'make') {
      const name = v.safeParse(keyNameSchema, word);
      if (!name.success)
        throw new AtollError('bad_config', 'A key needs a name of letters, digits, spaces, . _ -');
      const expiry = days === null ? {} : { expiresAt: systemClock.now() + days * dayMs };
      const made = await keys.make({ name: name.output, owner: null, scopes, ...expiry });
      process.stderr.write(`The key ${made.id}, shown this once:\n`);
      console.log(made.key);
    } else if (verb === 'list') {
      const { keys: own } = await keys.list(null, { limit: 200 });
      for (const key of own)
        console.log([key.id, key.scopes.join(','), key.expiresAt ?? '-', key.name].join('\t'));
    } else if (verb === 'end' && word !== undefined) await keys.end(word, null);
    else throw new AtollError('bad_config', help);
  } finally {
    await storage.close();
  }
}

try {
  const order = parseOrder(process.argv.slice(2));
  if (order) await run(order);
  else console.log(help);
} catch (error) {
  const { code, message, stack } = error as AtollError;
  const expected = error instanceof AtollError || String(code).startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`atoll: ${expected ? message : stack}\n`);
  process.exitCode = expected ? 2 : 1;
}
