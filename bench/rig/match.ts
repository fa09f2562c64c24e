/** One match: contestants get a tab each, are verified, and are timed in turn. One that fails is out and named, never left out silently. */
import type { BenchRow } from '#scripts/bench.ts';
import type { Rig, Tab } from './browser.ts';
import type { Prepared, Task } from './contest.ts';
import { duel, type DuelOptions, information, type Times } from './duel.ts';

export interface Entrant {
  name: string;
  task: Task;
  /** Throws, in words, when what the tab computed before timing is wrong. */
  verify(prepared: Prepared): void;
}

export interface MatchResult {
  times: Times;
  /** Why an entrant is missing, by name. */
  failures: Map<string, string>;
  /** Devices in their own words, by name. */
  labels: Map<string, string>;
}

export async function playMatch(
  rig: Rig,
  entrants: readonly Entrant[],
  options: DuelOptions,
  say: (line: string) => void,
): Promise<MatchResult> {
  const result: MatchResult = { times: new Map(), failures: new Map(), labels: new Map() };
  const tabs = new Map<string, Tab>();
  const failed = (name: string, error: Error) => {
    const why = error.message.split('\n')[0] as string;
    result.failures.set(name, why);
    say(`  ${name} failed: ${why}`);
  };
  for (const { name, task, verify } of entrants) {
    try {
      const tab = await rig.tab(task);
      tabs.set(name, tab);
      verify(tab.prepared);
      result.labels.set(name, tab.prepared.label);
    } catch (error) {
      failed(name, error as Error);
      await tabs.get(name)?.close();
      tabs.delete(name);
    }
  }
  say(`  at rest: ${(await rig.measureIdle()).toFixed(3)} CPU-s a second`);
  const contenders = [...tabs].map(([name, tab]) => ({ name, time: (count: number) => tab.time(count) }));
  result.times = await duel(contenders, { ...options, failed });
  for (const tab of tabs.values()) await tab.close();
  return result;
}

/** A row for everybody who failed. */
export function failureRows(id: string, { failures }: MatchResult): BenchRow[] {
  return [...failures].map(([name, why]) => ({
    ...information(`${id} ${name} failed: ${why}`, NaN, ''),
    ok: false,
  }));
}
