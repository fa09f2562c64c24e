/**
 * Reports of finished runs, kept between calls of the bench: a run of full size takes many minutes, and equal options replay equal histories. What is
 * kept belongs to the sources that it was made with: any change of the coordinator's logic or of the simulation begins anew.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { root } from '#scripts/run-tool.ts';
import type { SimOptions, SimReport } from '#test/sim/simulation.ts';

/** All that the history of a run depends on. */
const sources = [
  ...['record', 'scheduler', 'trust', 'consensus', 'ledger', 'planner', 'storage/memory'].map(
    (name) => `coordinator/${name}`,
  ),
  'test/sim',
  'protocol/limits.ts',
];

export class KeptReports {
  readonly #folder: string;

  constructor(folder = path.join(os.tmpdir(), `atoll-consensus-${sourcesHash()}`)) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  get(options: SimOptions): SimReport | null {
    const file = this.#fileOf(options);
    return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as SimReport) : null;
  }

  put(options: SimOptions, report: SimReport): void {
    const file = this.#fileOf(options);
    writeFileSync(`${file}.new`, JSON.stringify(report));
    renameSync(`${file}.new`, file);
  }

  #fileOf(options: SimOptions): string {
    const words = Object.entries(options).map(([name, value]) => `${name}-${String(value)}`);
    return path.join(this.#folder, `${words.sort().join('_')}.json`);
  }
}

function sourcesHash(): string {
  const hash = createHash('sha256').update(process.version);
  for (const file of sources.flatMap((name) => filesOf(path.join(root, name)))) {
    hash.update(path.relative(root, file)).update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 16);
}

function filesOf(name: string): string[] {
  if (name.endsWith('.ts')) return [name];
  return readdirSync(name, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .sort()
    .map((file) => path.join(name, file));
}
