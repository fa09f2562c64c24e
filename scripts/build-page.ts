/**
 * Builds the page when its sources have changed since the last build: a hash of everything that goes into it is kept beside what came out.
 * A failed build leaves no stamp, so that the next start tries again.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AtollError } from '#protocol/errors.ts';
import { root, runTool } from './run-tool.ts';
import { hashOfSources } from './source-files.ts';

const parts = /^(web|workers|kernels|protocol|contracts\/abi)\//;
const others = [
  'vite.config.ts',
  'package-lock.json',
  'web/index.html',
  'web/conformance/index.html',
  'web/public/favicon.svg',
];
const stamp = path.join(root, 'node_modules/.atoll-page');

/** Where the built page is. */
export const pageDir = path.join(root, 'web/dist');

/** Builds if needed and says whether it did. Throws `internal` with the builder's words when it fails. */
export async function buildPage(onStart: () => void = () => {}): Promise<boolean> {
  const wanted = hashOfSources(root, parts, others);
  const built = existsSync(path.join(pageDir, 'index.html'));
  if (built && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return false;
  onStart();
  rmSync(stamp, { force: true });
  const { ok, output } = await runTool('vite', ['build', '--logLevel', 'warn']);
  if (!ok) throw new AtollError('internal', `The page could not be built:\n${output.trim()}`);
  writeFileSync(stamp, wanted);
  return true;
}
