/** `npm run sim -- --swarm`: a simulated swarm that fetches one file, on the real exchange, tracker and leases. */
import { parseArgs } from 'node:util';
import { simulateSwarm, swarmDefaults, type SwarmReport } from './swarm.ts';

export const swarmHelp = `npm run sim -- --swarm [options]

  --peers N          how many (500)
  --mebibytes N      size of the file (64)
  --leaving F        share of the honest that leave in the middle (0.5)
  --leeches F        share that only takes (0)
  --liars F          share that sends garbage or has nothing of what it announces (0)
  --slow F           share with an uplink of 1 Mb/s instead of 5 (0)
  --seed K           the history to play (1)
  --json             the report as one JSON document
`;

/** The exit status: 1 when an honest peer that stayed did not get the file. */
export function runSwarm(words: readonly string[]): number {
  const share = { type: 'string', default: '0' } as const;
  const { values } = parseArgs({
    args: [...words],
    options: {
      swarm: { type: 'boolean' },
      peers: { type: 'string', default: String(swarmDefaults.peers) },
      mebibytes: { type: 'string', default: '64' },
      leaving: { type: 'string', default: String(swarmDefaults.leaving) },
      leeches: share,
      liars: share,
      slow: share,
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(swarmHelp);
    return 0;
  }
  const report = simulateSwarm({
    peers: numberOf('peers', values.peers, 2, 10_000),
    fileBytes: numberOf('mebibytes', values.mebibytes, 1, 1_024) * 2 ** 20,
    leaving: numberOf('leaving', values.leaving, 0, 0.95),
    leeches: numberOf('leeches', values.leeches, 0, 0.9),
    liars: numberOf('liars', values.liars, 0, 0.9),
    slow: numberOf('slow', values.slow, 0, 1),
    seed: numberOf('seed', values.seed, 0, 2 ** 32 - 1),
  });
  process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : linesOf(report));
  return report.done === report.honest ? 0 : 1;
}

function numberOf(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= min && value <= max) return value;
  throw new Error(`--${name} must be a number from ${min} to ${max}.`);
}

function linesOf(report: SwarmReport): string {
  return Object.entries(report)
    .map(([name, value]) => `${name.padEnd(18)} ${String(value)}\n`)
    .join('');
}
