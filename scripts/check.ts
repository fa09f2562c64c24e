/** `npm run check`: the static checks alone. `npm run check -- WORD...` runs those whose name contains a word. */
import { type Counts, closingLine, indent, mark, noCounts, seconds } from './report.ts';
import { type StaticCheck, staticChecks } from './static-checks.ts';

/** Runs checks two at a time and prints one line each, and what a failed one said. */
export async function runStaticChecks(checks: readonly StaticCheck[] = staticChecks): Promise<Counts> {
  const counts = noCounts();
  const waiting = [...checks];
  const worker = async () => {
    for (let check = waiting.shift(); check; check = waiting.shift()) {
      const startedAt = performance.now();
      const { ok, output } = await check.run();
      counts[ok ? 'passed' : 'failed'] += 1;
      console.log(`${mark(ok ? 'ok' : 'FAIL')} ${seconds(performance.now() - startedAt)}  ${check.name}`);
      if (!ok) console.log(indent(check.remedy ? `${output}\nTo mend it: ${check.remedy}` : output));
    }
  };
  await Promise.all([worker(), worker()]);
  return counts;
}

if (import.meta.main) {
  const words = process.argv.slice(2);
  if (words.includes('--help')) {
    console.log(`npm run check [-- WORD...]\n\n${staticChecks.map((check) => check.name).join('\n')}`);
  } else {
    const chosen = staticChecks.filter(
      (check) => words.length === 0 || words.some((word) => check.name.includes(word)),
    );
    const counts = await runStaticChecks(chosen);
    console.log(closingLine(counts));
    process.exitCode = counts.failed > 0 || chosen.length === 0 ? 1 : 0;
  }
}
