/** Every example runs, says what it should, and stays short enough to be read at a glance. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const file = fileURLToPath(new URL('./train-and-generate.ts', import.meta.url));

describe('train-and-generate', () => {
  it.each([['wasm'], ['reference']])('learns its sentence on %s', async (backend) => {
    const { stdout } = await run(process.execPath, [file, backend]);
    expect(stdout).toBe('atoll is one');
  });

  it('has at most 30 lines', async () => {
    expect((await readFile(file, 'utf8')).trimEnd().split('\n').length).toBeLessThanOrEqual(30);
  });
});
