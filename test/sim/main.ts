/** `npm run sim`: simulates a network of contributors and liars from a seed and reports what happened. Exits with 1 when something does not hold. */
import { parseArgs } from 'node:util';
import { type SimOptions, simulate, strategies } from './simulation.ts';

const help = `npm run sim -- [options]

  --contributors N   how many (200)
  --liars F          share of the dishonest, 0 to 1 (0.3)
  --strategy S       ${strategies.join(' | ')} | mixed (random)
  --rounds N         rounds of the job (5)
  --lanes N          lanes a round, 1 to 60 (40)
  --seed K           the history to play (1)
  --json             the report as one JSON document
`;

function readOptions(): { options: SimOptions; json: boolean } | null {
  const { values } = parseArgs({
    options: {
      contributors: { type: 'string', default: '200' },
      liars: { type: 'string', default: '0.3' },
      strategy: { type: 'string', default: 'random' },
      rounds: { type: 'string', default: '5' },
      lanes: { type: 'string', default: '40' },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const strategy = [...strategies, 'mixed' as const].find((name) => name === values.strategy);
  if (!strategy) throw new Error(`--strategy must be one of ${strategies.join(', ')}, mixed.`);
  const options = {
    contributors: number('contributors', values.contributors, 2, 100_000, true),
    liars: number('liars', values.liars, 0, 1, false),
    strategy,
    rounds: number('rounds', values.rounds, 1, 100_000, true),
    lanes: number('lanes', values.lanes, 1, 60, true),
    seed: number('seed', values.seed, 0, 2 ** 32 - 1, true),
  };
  return { options, json: values.json };
}

function number(name: string, text: string, min: number, max: number, whole: boolean): number {
  const value = Number(text);
  const fits = text.trim() !== '' && value >= min && value <= max && (!whole || Number.isInteger(value));
  if (!fits)
    throw new Error(`--${name} must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}.`);
  return value;
}

function main(): number {
  let read: ReturnType<typeof readOptions>;
  try {
    read = readOptions();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  if (!read) {
    process.stdout.write(help);
    return 0;
  }
  const report = simulate(read.options);
  if (read.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else
    for (const [name, value] of Object.entries(report))
      process.stdout.write(`${name.padEnd(18)} ${String(value)}\n`);
  if (report.faults.length === 0) return 0;
  process.stderr.write(`${report.faults.length} things do not hold; --seed ${report.seed} replays them.\n`);
  return 1;
}

process.exitCode = main();
