/** Builds the page for a test: with Vite and the repository's own configuration, into a folder of its own. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));

/** Puts the scripted contributor behind the one door to the real one. */
const scriptedDoor: Plugin = {
  name: 'scripted-contributor',
  enforce: 'pre',
  resolveId: (id) => (id.endsWith('/create-contributor.ts') ? join(here, 'scripted-contributor.ts') : null),
};

/** Returns the folder; the caller removes it. */
export async function buildPage(contributor: 'real' | 'scripted'): Promise<string> {
  const outDir = await mkdtemp(join(tmpdir(), 'atoll-page-'));
  await build({
    configFile: join(here, '../../vite.config.ts'),
    root: join(here, '..'),
    logLevel: 'warn',
    plugins: contributor === 'scripted' ? [scriptedDoor] : [],
    build: { outDir, emptyOutDir: true },
  });
  return outDir;
}
