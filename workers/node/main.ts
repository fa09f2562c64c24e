/**
 * The headless contributor as a program: `node --import ./scripts/raw-hooks.ts workers/node/main.ts --url URL`. `npx atoll node` and `npm run node --` come
 * here too, with Node 24 and the packages in place.
 */
import { main } from './cli.ts';

process.exit(await main(process.argv.slice(2), process.env));
