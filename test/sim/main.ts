/** `npm run sim`: simulates a network of contributors and liars from a seed and reports what happened. Exits with 1 when something does not hold. */
import { parseArgs } from 'node:util';
import { type Strategy, strategies } from './adversaries.ts';
import { type SimOptions, type SimReport, simulate } from './simulation.ts';
import { runSwarm } from './swarm/main.ts';

const help = `npm run sim -- [options]

  --contributors N   how many (1000)
  --units N          work to plan, about (20000)
  --liars F          share of the dishonest, 0 to 1 (0.3)
  --strategy S       ${strategies.join(' | ')} | mixed (mixed)
  --referees N       nodes of the operator, whose word is final (2)
  --lanes N          lanes a round, 1 to 60 (50)
  --seed K           the history to play (1)
  --model M          ours | boinc: BOINC's adaptive replication instead (ours)
  --exact            real CIDs, commitments and plans: slower, for small runs
  --json             the report as one JSON document

npm run sim -- --swarm --help tells of the simulated exchange of blocks.
`;

function readOptions(): { options: SimOptions; json: boolean } | null {
  const { values } = parseArgs({
    options: {
      contributors: { type: 'string', default: '1000' },
      units: { type: 'string', default: '20000' },
      liars: { type: 'string', default: '0.3' },
      strategy: { type: 'string', default: 'mixed' },
      referees: { type: 'string', default: '2' },
      lanes: { type: 'string', default: '50' },
      seed: { type: 'string', default: '1' },
      model: { type: 'string', default: 'ours' },
      exact: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const options: SimOptions = {
    contributors: number('contributors', values.contributors, 2, 100_000, true),
    units: number('units', values.units, 1, 100_000_000, true),
    liars: number('liars', values.liars, 0, 1, false),
    strategy: oneOf<Strategy | 'mixed'>('strategy', values.strategy, [...strategies, 'mixed']),
    referees: number('referees', values.referees, 0, 1000, true),
    lanes: number('lanes', values.lanes, 1, 60, true),
    seed: number('seed', values.seed, 0, 2 ** 32 - 1, true),
    model: oneOf('model', values.model, ['ours', 'boinc']),
    exact: values.exact,
  };
  return { options, json: values.json };
}

function oneOf<T extends string>(name: string, value: string, names: readonly T[]): T {
  const found = names.find((each) => each === value);
  if (!found) throw new Error(`--${name} must be one of ${names.join(', ')}.`);
  return found;
}

function number(name: string, text: string, min: number, max: number, whole: boolean): number {
  const value = Number(text);
  const fits = text.trim() !== '' && value >= min && value <= max && (!whole || Number.isInteger(value));
  if (!fits)
    throw new Error(`--${name} must be ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}.`);
  return value;
}

function lines({ strategies: table, faults, ...figures }: SimReport): string {
  const rows = Object.entries(figures).map(([name, value]) => `${name.padEnd(20)} ${String(value)}`);
  const columns = [
    'actors',
    'keys',
    'outlawed',
    'falseResults',
    'standing',
    'caught',
    'work',
    'credit',
    'profit',
  ] as const;
  const shown = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(4)).padStart(12);
  const head = ''.padEnd(15) + columns.map((name) => name.padStart(12)).join('');
  const body = Object.entries(table).map(
    ([name, report]) => name.padEnd(15) + columns.map((column) => shown(report[column])).join(''),
  );
  const words = faults.map((fault) => `does not hold: ${fault}`);
  return [...rows, '', head, ...body, '', ...words].join('\n');
}

function main(): number {
  if (process.argv.includes('--swarm')) return swarm();
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
  process.stdout.write(read.json ? `${JSON.stringify(report)}\n` : `${lines(report)}\n`);
  if (report.faults.length === 0) return 0;
  process.stderr.write(`${report.faults.length} things do not hold; --seed ${report.seed} replays them.\n`);
  return 1;
}

function swarm(): number {
  try {
    return runSwarm(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
}

process.exitCode = main();
