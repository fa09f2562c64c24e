/** One simulated swarm in a thread of its own, for `swarm.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { simulateSwarm, type SwarmOptions } from '#test/sim/swarm/swarm.ts';

parentPort?.postMessage(simulateSwarm(workerData as Partial<SwarmOptions>));
