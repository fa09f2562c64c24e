/** `npm run sim [-- options]`: the seeded simulation of test/sim, which runs the real scheduler, consensus and ledger under a made clock. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './run-tool.ts';

const program = path.join(root, 'test/sim/main.ts');
if (existsSync(program)) await import(pathToFileURL(program).href);
else {
  process.stderr.write('There is no simulation in this version: test/sim/main.ts is missing.\n');
  process.exitCode = 2;
}
