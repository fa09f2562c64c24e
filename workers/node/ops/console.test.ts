/** Logs: JSON lines where nobody looks on; beside a progress line a file, and warnings in words above it. */
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openConsole } from './console.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(path.join(tmpdir(), 'atoll-log-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const config = { logLevel: 'info', logFile: null, progress: 'auto', name: 'box' } as const;
const terminal = () => ({
  text: '',
  isTTY: true,
  columns: 80,
  write(text: string) {
    this.text += text;
  },
});

describe('the console', () => {
  it('keeps JSON off the terminal, and says warnings in words', async () => {
    const screen = terminal();
    const { log, progress, close } = openConsole({ ...config, dataDir: dir }, screen, {});
    log.info({ code: 1 }, 'An ordinary thing.');
    log.warn({ code: 'unavailable' }, 'The coordinator is away.');
    close();
    expect(progress).not.toBeNull();
    expect(screen.text).toContain('box: The coordinator is away.\n');
    expect(screen.text).not.toMatch(/ordinary|"level"/);
    const file = path.join(dir, 'box.log');
    const lines = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(lines).toMatchObject([{ msg: 'An ordinary thing.', name: 'box' }, { code: 'unavailable' }]);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('draws nothing where there is no terminal, or it is told not to', () => {
    expect(openConsole({ ...config, dataDir: dir }, { ...terminal(), isTTY: false }, {}).progress).toBeNull();
    expect(openConsole({ ...config, dataDir: dir, progress: 'off' }, terminal(), {}).progress).toBeNull();
    expect(openConsole({ ...config, dataDir: dir, logLevel: 'silent' }, terminal(), {}).progress).toBeNull();
  });

  it('puts a large file aside, and says where one cannot be written', async () => {
    const logFile = path.join(dir, 'node.log');
    await writeFile(logFile, '');
    await truncate(logFile, 11 << 20);
    openConsole({ ...config, logFile, dataDir: dir, progress: 'off' }).log.info('New.');
    expect((await readdir(dir)).sort()).toEqual(['node.log', 'node.log.1']);
    expect((await stat(logFile)).size).toBeLessThan(1_000);
    const under = path.join(logFile, 'x.log');
    expect(() => openConsole({ ...config, logFile: under, dataDir: dir })).toThrow(
      /log file .* cannot be written/,
    );
  });
});
