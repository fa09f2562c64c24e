/** Configuration: what wins, and what a wrong setting says. */
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { blockStoreOf, parseConfig } from './config.ts';

test('flags win over the environment, the environment over the defaults', () => {
  expect(parseConfig({}, {})).toMatchObject({ port: 4400, host: '127.0.0.1', dataDir: resolve('.data') });
  const env = { ATOLL_PORT: '5000', ATOLL_ALLOWED_HOSTS: 'Atoll.Example, b' };
  expect(parseConfig({}, env)).toMatchObject({ port: 5000, allowedHosts: ['atoll.example', 'b'] });
  expect(parseConfig({ port: '0' }, env).port).toBe(0);
  expect(Object.isFrozen(parseConfig({}, env))).toBe(true);
});

test.each([
  [{ port: '70000' }, /port \(ATOLL_PORT\)/],
  [{ port: 'http' }, /port/],
  [{ logLevel: 'loud' }, /logLevel/],
  [{ dataDir: '' }, /dataDir/],
])('%o is refused by name', (flags, message) => {
  expect(() => parseConfig(flags, {})).toThrowError(
    expect.objectContaining({ code: 'bad_config', message: expect.stringMatching(message) as string }),
  );
});

test('the database, the bus and the block store come from the environment; half a setting is refused', () => {
  const env = {
    DATABASE_URL: 'postgres://atoll:secret@db/atoll',
    NATS_URL: 'nats://a:4222,nats://b:4222',
    S3_ENDPOINT: 'https://s3.example',
    S3_BUCKET: 'blocks',
    S3_ACCESS_KEY_ID: 'id',
    S3_SECRET_ACCESS_KEY: 'secret',
    ATOLL_REFEREES: `0x${'AB'.repeat(20)}, 0x${'01'.repeat(20)}`,
  };
  const config = parseConfig({}, env);
  expect(config).toMatchObject({ databaseUrl: env.DATABASE_URL, natsUrl: env.NATS_URL });
  expect(config.referees).toEqual([`0x${'ab'.repeat(20)}`, `0x${'01'.repeat(20)}`]);
  const keys = { accessKeyId: 'id', secretAccessKey: 'secret' };
  expect(blockStoreOf(config)).toEqual({
    ...{ endpoint: 'https://s3.example', bucket: 'blocks', region: 'us-east-1' },
    ...keys,
  });
  expect(parseConfig({}, {})).toMatchObject({ databaseUrl: '', natsUrl: '', referees: [] });
  expect(blockStoreOf(parseConfig({}, {}))).toBeNull();
  expect(() => blockStoreOf(parseConfig({}, { ...env, S3_SECRET_ACCESS_KEY: '' }))).toThrow(
    /S3_SECRET_ACCESS_KEY/,
  );
});

test.each([
  ['DATABASE_URL', 'mysql://db/secret'],
  ['NATS_URL', 'http://bus/secret'],
  ['S3_ENDPOINT', 'secret'],
  ['ATOLL_REFEREES', '0x12,secret'],
])('%s that is none is refused, and is not shown', (name, value) => {
  const parse = () => parseConfig({}, { [name]: value });
  expect(parse).toThrowError(expect.objectContaining({ code: 'bad_config' }));
  expect(parse).toThrow(name);
  expect(parse).not.toThrow(/secret/);
});
