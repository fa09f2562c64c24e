/**
 * A coordinator with its embedded chain as a process of its own, so that a test can kill it: `coordinator-process.ts DIR PORT ROUNDS`.
 * Prints `ready` once it serves.
 */
import { job, openNetwork, text } from './rig.ts';

const [dir, port, rounds] = process.argv.slice(2) as [string, string, string];
const { coordinator } = await openNetwork(dir, { port: Number(port) });
await coordinator.ensureJob(job, text, { stopAfterRounds: Number(rounds) });
process.stdout.write('ready\n');
