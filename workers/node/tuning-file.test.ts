/** The tuning file on a real disk: kept, merged, replaced where it is broken, and a failure where it cannot be written. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDevice } from '#kernels/index.ts';
import { tune } from '#kernels/device/webgpu-tuning.ts';
import { fileTuning } from './tuning-file.ts';

let dir: string;
let warnings: unknown[];
const warn = (error: unknown) => void warnings.push(error);
beforeEach(async () => {
  warnings = [];
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-tuning-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('fileTuning', () => {
  it('keeps one choice for each key over a restart, and leaves no draft behind', async () => {
    const file = path.join(dir, 'deep', 'tuning.json');
    const port = fileTuning(file, warn);
    expect(await port.get('a')).toBeNull();
    await port.set('a', '64x64');
    await port.set('b', '32x64');
    await port.set('a', '128x64');
    const again = fileTuning(file, warn);
    expect([await again.get('a'), await again.get('b'), await again.get('toString')]).toEqual([
      '128x64',
      '32x64',
      null,
    ]);
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ a: '128x64', b: '32x64' });
    expect(await readdir(path.dirname(file))).toEqual(['tuning.json']);
  });

  it.each(['', '{"a":', '{"a":1}', '[]x'])(
    'tunes in spite of a file with %j, and replaces it',
    async (text) => {
      const file = path.join(dir, 'tuning.json');
      await writeFile(file, text);
      const chosen = await tuned(file);
      expect(warnings).toHaveLength(1);
      expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ k: chosen });
    },
  );

  it('tunes where it cannot write, and says so', async () => {
    await writeFile(path.join(dir, 'file'), '');
    const file = path.join(dir, 'file', 'tuning.json');
    await tuned(file);
    expect(warnings.at(-1)).toMatchObject({ code: 'bad_config', message: expect.stringContaining(file) });
  });
});

async function tuned(file: string): Promise<string> {
  return tune({
    device: await createDevice('reference'),
    use: () => {},
    key: 'k',
    nb: 10,
    packed: false,
    port: fileTuning(file, warn),
    timed: { M: 8, N: 8, K: 8, count: 1 },
  });
}
