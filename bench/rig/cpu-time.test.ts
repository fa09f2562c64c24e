/** A child's and a grandchild's CPU time counts, that of others does not. */
import { spawn } from 'node:child_process';
import { expect, it } from 'vitest';
import { treeSeconds } from './cpu-time.ts';

/** Uses at least that much CPU time by its own account, starts one like it, then waits to be told to end. */
const busy = `
  const started = process.cpuUsage();
  for (let used = 0; used < 300_000; ) { const { user, system } = process.cpuUsage(started); used = user + system; }
  if (process.argv[1] === 'parent') {
    const child = require('node:child_process').spawn(process.execPath, ['-e', process.env.BUSY, 'child'], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdout.once('data', () => console.log('ready'));
  } else console.log('ready');
  process.stdin.on('end', () => process.exit()).resume();
`;

it.skipIf(process.platform !== 'linux')('sums the tree', async () => {
  const child = spawn(process.execPath, ['-e', busy, 'parent'], { env: { ...process.env, BUSY: busy } });
  try {
    await new Promise((resolve) => child.stdout.once('data', resolve));
    // Two times 0.3 s, less the ticks that are not full.
    expect(treeSeconds(child.pid as number)).toBeGreaterThan(0.55);
    expect(treeSeconds(child.pid as number)).toBeLessThan(treeSeconds(process.pid));
  } finally {
    child.kill();
  }
});
