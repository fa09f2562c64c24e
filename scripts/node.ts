/** `npm run node -- [command] [options]` and `npx atoll node`: the headless contributor. Relative paths are the person's own. */
import { main } from '#workers/node/cli.ts';
import { ensureWasm } from './build-wasm.ts';

await ensureWasm();
process.chdir(process.env['INIT_CWD'] ?? '.');
process.exit(await main(process.argv.slice(2), process.env));
