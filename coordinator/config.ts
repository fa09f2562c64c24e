/** Configuration of one coordinator process: flags > environment > defaults, parsed once, frozen, passed down. */
import { resolve } from 'node:path';
import type { Hex } from 'viem';
import * as v from 'valibot';
import { AtollError } from '#protocol/errors.ts';
import { addressSchema } from '#protocol/messages/hex.ts';
import type { P2pOptions } from './p2p/p2p.ts';
import type { KuboOptions } from './pinning/kubo.ts';
import type { HttpOptions } from './routes/http-side.ts';
import type { S3Options } from './storage/blobs-s3.ts';
import type { StoreOptions } from './stores.ts';

/** A setting that may be left out, or be empty, as in a file of variables. */
const text = v.optional(v.pipe(v.string(), v.trim()), '');
const list = v.pipe(
  v.string(),
  v.transform((names) => names.split(',').map((name) => name.trim().toLowerCase())),
  v.transform((names) => names.filter((name) => name !== '')),
);
const addressList = v.pipe(
  v.string(),
  v.transform((list) => list.split(',').map((each) => each.trim().toLowerCase())),
  v.transform((list) => list.filter((each) => each !== '')),
  v.array(addressSchema),
);
const urlOf = (...schemes: string[]) =>
  v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.check(
        (value) => value === '' || value.split(',').every((url) => schemes.includes(schemeOf(url.trim()))),
        `expected ${schemes.map((scheme) => `${scheme}//...`).join(' or ')}`,
      ),
    ),
    '',
  );

function schemeOf(url: string): string {
  return URL.canParse(url) ? new URL(url).protocol : '';
}

const iceUrls = (pattern: RegExp) =>
  v.optional(
    v.pipe(
      v.string(),
      v.transform((urls) => urls.split(',').map((url) => url.trim())),
      v.transform((urls) => urls.filter((url) => url !== '')),
      v.check(
        (urls) => urls.length <= iceUrlsMax && urls.every((url) => pattern.test(url)),
        `expected ${pattern}`,
      ),
    ),
    '',
  );
const iceUrlsMax = 8;

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
  /** Origins of other sites whose pages may read, comma-separated, or `*`; those named may write too. */
  allowedOrigins: v.optional(list),
  /** The address that wallets are shown when they sign in. */
  publicUrl: urlOf('https:', 'http:'),
  /** Wallets that may have API keys, comma-separated, or `*`. */
  clients: v.optional(list),
  /** Proxies in front that append to X-Forwarded-For. */
  trustedProxies: v.optional(v.pipe(v.string(), v.regex(/^\d$/), v.transform(Number)), '0'),
  /** PostgreSQL in place of the data directory's own database; several coordinators may share it. */
  databaseUrl: urlOf('postgres:', 'postgresql:'),
  /** NATS for what coordinators on one database tell each other; PostgreSQL does it without. */
  natsUrl: urlOf('nats:', 'tls:'),
  s3Endpoint: urlOf('https:', 'http:'),
  s3Bucket: text,
  s3Region: v.optional(v.pipe(v.string(), v.trim()), 'us-east-1'),
  s3AccessKeyId: text,
  s3SecretAccessKey: text,
  /** An IPFS node (Kubo's RPC API) that checkpoints are pinned at as rounds close, and what it wants in Authorization. */
  ipfsApiUrl: urlOf('https:', 'http:'),
  ipfsApiAuthorization: text,
  /** The operator's own contributors, whose word is final: addresses, comma-separated. */
  referees: v.optional(addressList, ''),
  /** The key that contributors know the coordinator by; one is made and kept in the database unless given. */
  identityKey: v.optional(
    v.pipe(v.string(), v.trim(), v.regex(/^(0x[0-9a-f]{64})?$/, 'expected 0x and 64 lower-case hex digits')),
    '',
  ),
  /** Whether contributors may find each other through this coordinator. */
  p2p: v.optional(v.picklist(['on', 'off']), 'on'),
  /** ICE servers for them, comma-separated: `turn:` and `turns:` with the secret of coturn's `static-auth-secret`, `stun:`. */
  turnUrls: iceUrls(/^turns?:[^\s]+$/),
  turnSecret: text,
  stunUrls: iceUrls(/^stun:[^\s]+$/),
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
  allowedOrigins: 'ATOLL_ALLOWED_ORIGINS',
  publicUrl: 'ATOLL_PUBLIC_URL',
  clients: 'ATOLL_CLIENTS',
  trustedProxies: 'ATOLL_TRUSTED_PROXIES',
  databaseUrl: 'DATABASE_URL',
  natsUrl: 'NATS_URL',
  s3Endpoint: 'S3_ENDPOINT',
  s3Bucket: 'S3_BUCKET',
  s3Region: 'S3_REGION',
  s3AccessKeyId: 'S3_ACCESS_KEY_ID',
  s3SecretAccessKey: 'S3_SECRET_ACCESS_KEY',
  ipfsApiUrl: 'IPFS_API_URL',
  ipfsApiAuthorization: 'IPFS_API_AUTHORIZATION',
  referees: 'ATOLL_REFEREES',
  identityKey: 'ATOLL_IDENTITY_KEY',
  p2p: 'ATOLL_P2P',
  turnUrls: 'ATOLL_TURN_URLS',
  turnSecret: 'ATOLL_TURN_SECRET',
  stunUrls: 'ATOLL_STUN_URLS',
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
  const name = v.getDotPath(issue)?.split('.')[0] as keyof ConfigFlags;
  throw new AtollError(
    'bad_config',
    `The setting ${name} (${environment[name]}) is wrong: ${issue.message}`,
    {
      details: { setting: name },
    },
  );
}

/** What of the configuration is about HTTP; what is not set is left to the coordinator. */
export function httpOptionsOf(config: Config): HttpOptions {
  const { allowedHosts, allowedOrigins, publicUrl, clients, trustedProxies } = config;
  return {
    ...{ allowedHosts, trustedProxies },
    ...(allowedOrigins ? { allowedOrigins } : {}),
    ...(publicUrl === '' ? {} : { publicUrl }),
    ...(clients ? { clients } : {}),
  };
}

/** How contributors find each other, or null where they do not. Throws `bad_config` for half a TURN server. */
export function p2pOptionsOf({ p2p, turnUrls, turnSecret, stunUrls }: Config): P2pOptions | null {
  if (turnUrls.length > 0 !== (turnSecret !== '')) {
    throw new AtollError('bad_config', 'ATOLL_TURN_URLS and ATOLL_TURN_SECRET go together; one is not set.');
  }
  if (p2p === 'off') return null;
  return { stunUrls, ...(turnUrls.length > 0 ? { turn: { urls: turnUrls, secret: turnSecret } } : {}) };
}

/** Where blocks go: an S3-compatible store, or null for the data directory. Throws `bad_config` for half a setting. */
export function blockStoreOf(config: Config): S3Options | null {
  const { s3Endpoint: endpoint, s3Bucket: bucket, s3Region: region } = config;
  const { s3AccessKeyId: accessKeyId, s3SecretAccessKey: secretAccessKey } = config;
  const given = { S3_ENDPOINT: endpoint, S3_BUCKET: bucket };
  const keys = { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey };
  const missing = Object.entries({ ...given, ...keys }).filter(([, value]) => value === '');
  if (Object.values(given).every((value) => value === '')) return null;
  if (missing.length === 0) return { endpoint, bucket, region, accessKeyId, secretAccessKey };
  const names = missing.map(([name]) => name).join(', ');
  throw new AtollError('bad_config', `Blocks are to go to S3, but ${names} is not set.`);
}

/** Where state is kept, as `createCoordinator` takes it. Throws `bad_config` for half a setting. */
export function storeOptionsOf(config: Config): Omit<StoreOptions, 'dataDir'> {
  const { databaseUrl, natsUrl, referees } = config;
  return { databaseUrl, natsUrl, referees, blockStore: blockStoreOf(config) };
}

/** The key that the coordinator is to be known by, or null for the one of its database. */
export function identityKeyOf({ identityKey }: Config): Hex | null {
  return identityKey === '' ? null : (identityKey as Hex);
}

/** Where checkpoints are pinned, or null for nowhere. */
export function pinningOf({
  ipfsApiUrl: url,
  ipfsApiAuthorization: authorization,
}: Config): KuboOptions | null {
  if (url === '') return null;
  return authorization === '' ? { url } : { url, authorization };
}
