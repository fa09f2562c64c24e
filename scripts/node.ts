/**
 * `npm run node -- [command] [options]` and `npx atoll node`: the headless contributor, from its bundle and in place of this process, so that no memory is
 * left to what only built and started it. Relative paths are the person's own.
 */
import { ensureNodeBundle } from './build-node.ts';

const program = await ensureNodeBundle('main');
const args = process.argv.slice(2);
process.chdir(process.env['INIT_CWD'] ?? '.');
if (process.platform === 'win32' || !process.execve) {
  process.argv = [process.execPath, program, ...args];
  await import(`file://${program}`);
} else {
  process.execve(process.execPath, [process.execPath, program, ...args], process.env);
}
