/** Configuration: what wins, and what a wrong setting says. */
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from './config.ts';

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
