/** A check as data: what was looked at, how it stands, and what to do about it. What a check cannot find out because another failed, it skips. */
import { AtollError, codeOf } from '#protocol/errors.ts';

export type CheckState = 'ok' | 'warn' | 'fail' | 'skipped';

export interface Check {
  id: string;
  title: string;
  state: CheckState;
  /** What was found, in full sentences. */
  detail: string;
  /** What to do; there whenever the state is `warn` or `fail`. */
  fix?: string;
}

export type Finding = Omit<Check, 'id' | 'title'>;

/** What the checks before found, by id. */
export type Found = ReadonlyMap<string, CheckState>;

export interface CheckSpec {
  id: string;
  title: string;
  msMax: number;
  run(signal: AbortSignal, found: Found): Promise<Finding>;
}

export const ok = (detail: string): Finding => ({ state: 'ok', detail });
export const skipped = (detail: string): Finding => ({ state: 'skipped', detail });
export const warn = (detail: string, fix: string): Finding => ({ state: 'warn', detail, fix });
export const fail = (detail: string, fix: string): Finding => ({ state: 'fail', detail, fix });

/** One after the other, so that the speed is measured in quiet; `told` hears each as it ends. Never rejects. */
export async function runChecks(specs: readonly CheckSpec[], told: (check: Check) => void): Promise<Check[]> {
  const found = new Map<string, CheckState>();
  const checks: Check[] = [];
  for (const spec of specs) {
    const { id, title } = spec;
    const check = { id, title, ...(await runOne(spec, found)) };
    found.set(id, check.state);
    checks.push(check);
    told(check);
  }
  return checks;
}

async function runOne({ run, msMax }: CheckSpec, found: Found): Promise<Finding> {
  const signal = AbortSignal.timeout(msMax);
  const late = Promise.withResolvers<Finding>();
  const timer = setTimeout(() => {
    const fix = 'Try again; if it stays so, run `atoll node --log-level debug` and look at what it is at.';
    late.resolve(fail(`This took longer than ${Math.round(msMax / 1000)} s.`, fix));
  }, msMax + 500);
  try {
    return await Promise.race([run(signal, found), late.promise]);
  } catch (error) {
    const known = error instanceof AtollError || codeOf(error) !== 'internal';
    const detail = known ? (error as Error).message : `An unexpected error: ${(error as Error).message}`;
    return fail(detail, 'Please report this, with the output of `atoll node doctor --json`.');
  } finally {
    clearTimeout(timer);
  }
}
