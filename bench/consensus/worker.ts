/** One run of the simulation in a thread of its own: options in, report out. */
import { parentPort, workerData } from 'node:worker_threads';
import { type SimOptions, simulate } from '#test/sim/simulation.ts';

parentPort?.postMessage(simulate(workerData as SimOptions));
