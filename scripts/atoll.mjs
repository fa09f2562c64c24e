#!/usr/bin/env node
/** The program `atoll`: `npx atoll node --url URL` in a checkout. Any command of npm's scripts goes this way too, as `npx atoll start`. */
import { fail, main } from './bootstrap.mjs';

main(process.argv.slice(2)).catch(fail);
