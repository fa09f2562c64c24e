/** Configuration of one coordinator process: flags > environment > defaults, parsed once, frozen, passed down. */
import { resolve } from 'node:path';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';

const port = v.pipe(v.string(), v.regex(/^\d{1,5}$/), v.transform(Number), v.maxValue(65_535));

const configSchema = v.object({
  port: v.optional(port, '4400'),
  host: v.optional(v.pipe(v.string(), v.minLength(1)), '127.0.0.1'),
  dataDir: v.optional(
    v.pipe(
      v.string(),
      v.minLength(1),
      v.transform((path) => resolve(path)),
    ),
    '.data',
  ),
  staticDir: v.optional(
    v.pipe(
      v.string(),
      v.transform((path) => resolve(path)),
    ),
  ),
  /** Further names under which the server may be asked, comma-separated. */
  allowedHosts: v.optional(
    v.pipe(
      v.string(),
      v.transform((list) => list.split(',').map((name) => name.trim().toLowerCase())),
      v.transform((names) => names.filter((name) => name !== '')),
    ),
    '',
  ),
  logLevel: v.optional(v.picklist(['fatal', 'error', 'warn', 'info', 'debug', 'silent']), 'info'),
});
export type Config = Readonly<v.InferOutput<typeof configSchema>>;
export type ConfigFlags = Partial<Record<keyof v.InferInput<typeof configSchema>, string>>;

const environment: Record<keyof ConfigFlags, string> = {
  port: 'ATOLL_PORT',
  host: 'ATOLL_HOST',
  dataDir: 'ATOLL_DATA_DIR',
  staticDir: 'ATOLL_STATIC_DIR',
  allowedHosts: 'ATOLL_ALLOWED_HOSTS',
  logLevel: 'ATOLL_LOG_LEVEL',
};

/** Throws `bad_config` naming the setting that is wrong. */
export function parseConfig(flags: ConfigFlags, env: Readonly<Record<string, string | undefined>>): Config {
  const given: ConfigFlags = {};
  for (const [name, variable] of Object.entries(environment) as [keyof ConfigFlags, string][]) {
    const value = flags[name] ?? env[variable];
    if (value !== undefined) given[name] = value;
  }
  const parsed = v.safeParse(configSchema, given, { abortEarly: true });
  if (parsed.success) return Object.freeze(parsed.output);
  const issue = parsed.issues[0];
  const name = v.getDotPath(issue) as keyof ConfigFlags;
  throw new AtollError(
    'bad_config',
    `The setting ${name} (${environment[name]}) is wrong: ${issue.message}`,
    {
      details: { setting: name },
    },
  );
}
