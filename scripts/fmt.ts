/** `npm run fmt [-- PATH...]`: formats everything (or the given paths), and mends what the linter can mend safely. */
import { runTool } from './run-tool.ts';

const paths = process.argv.slice(2);
const targets = paths.length > 0 ? paths : ['.'];
// The linter first: what it rewrites is formatted after.
const lint = await runTool('oxlint', ['--fix', ...targets]);
const format = await runTool('prettier', ['--write', '--log-level', 'warn', ...targets]);
for (const { ok, output } of [lint, format]) if (!ok) process.stderr.write(output);
process.exitCode = format.ok && lint.ok ? 0 : 1;
