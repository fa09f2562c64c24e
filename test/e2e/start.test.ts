/**
 * The two commands a person has, as processes: `npm start` trains, is killed, goes on, and ends with its JSON; `npm run audit` confirms every unit against
 * the chain, with the network running and stopped, and refutes a result that was exchanged on disk.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import BetterSqlite3 from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Summary } from '#scripts/round-lines.ts';
import { root } from '#scripts/run-tool.ts';

const rounds = 3;
const tiny = ['--model', '1,16,2,16', '--steps', '3', '--batch', '2', '--held-out', '8', '--port', '0'];

interface Run {
  child: ChildProcess;
  stderr: () => string;
  stdout: () => string;
  ended: Promise<number | null>;
}

const running = new Set<ChildProcess>();

function run(script: string, args: string[]): Run {
  const hooks = path.join(root, 'scripts/raw-hooks.ts');
  const child = spawn(process.execPath, ['--import', hooks, path.join(root, 'scripts', script), ...args], {
    cwd: root,
  });
  running.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => resolve(code)));
  void ended.then(() => running.delete(child));
  return { child, ended, stdout: () => stdout, stderr: () => stderr };
}

const lastLine = (text: string) => JSON.parse(text.trim().split('\n').at(-1) as string);

/** Resolves once `what` has been said; rejects with everything said when the process ends before. */
async function said(process: Run, what: RegExp): Promise<void> {
  let over = false;
  void process.ended.then(() => (over = true));
  while (!what.test(process.stderr())) {
    if (over) throw new Error(`It ended before it said ${what}:\n${process.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

let base: string;
let disturbed: string;
beforeAll(() => {
  base = mkdtempSync(path.join(tmpdir(), 'atoll-e2e-start-'));
  disturbed = path.join(base, 'disturbed');
});
afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(base, { recursive: true, force: true, maxRetries: 5 });
});

const start = (dataDir: string) =>
  run('start.ts', [...tiny, '--data-dir', dataDir, '--rounds', String(rounds), '--json']);
const audit = (...args: string[]) => run('audit.ts', ['--json', ...args]);

describe('npm start', () => {
  let summary: Summary;

  test('ends with its JSON, killed in between or not, and the model is the same', async () => {
    const killed = start(disturbed);
    await said(killed, /^round +1 /m);
    killed.child.kill('SIGKILL');
    await killed.ended;

    const second = start(disturbed);
    expect(await second.ended, second.stderr()).toBe(0);
    expect(second.stderr()).toMatch(/goes on after round [123]/);
    summary = lastLine(second.stdout());
    expect(second.stdout().trim().split('\n')).toHaveLength(1);
    expect(summary).toMatchObject({ rounds, unitsSplit: 0, contributors: 2 });
    expect(summary.lossLast).toBeLessThan(summary.lossFirst as number);
    expect(summary.unitsAccepted).toBe(rounds * 4 + 1);
    expect(new Set(summary.anchors).size).toBe(rounds);

    const calm = start(path.join(base, 'calm'));
    expect(await calm.ended, calm.stderr()).toBe(0);
    expect(lastLine(calm.stdout()).checkpoint).toBe(summary.checkpoint);
  });

  test('Ctrl-C stops everything it started, before the rounds are done', async () => {
    const interrupted = run('start.ts', [
      ...tiny,
      '--data-dir',
      path.join(base, 'stopped'),
      '--rounds',
      '100000',
    ]);
    const address = /http:\/\/127\.0\.0\.1:\d+/;
    while (!address.test(interrupted.stdout())) await new Promise((resolve) => setTimeout(resolve, 20));
    interrupted.child.kill('SIGINT');
    expect(await interrupted.ended).toBe(130);
    expect(interrupted.stdout()).toContain('stopping');
    const url = /Open (\S+)/.exec(interrupted.stdout())?.[1] as string;
    await expect(fetch(url)).rejects.toThrow();
    const rpcUrl = /chain at (\S+)/.exec(interrupted.stdout())?.[1] as string;
    await expect(fetch(rpcUrl)).rejects.toThrow();
  });
});

describe('npm run audit', () => {
  test('confirms every unit of a stopped network', async () => {
    const all = audit('--all', '--data-dir', disturbed);
    expect(await all.ended, all.stderr()).toBe(0);
    const { confirmed, refuted, unchecked, units } = lastLine(all.stdout());
    expect({ confirmed, refuted, unchecked }).toEqual({
      confirmed: rounds * 4 + 1,
      refuted: 0,
      unchecked: 0,
    });
    expect(new Set(units.map((unit: { anchorTx: string }) => unit.anchorTx)).size).toBe(rounds);
  });

  test('confirms a unit of a running one, from its folder and over HTTP', async () => {
    const network = run('start.ts', [...tiny, '--data-dir', disturbed, '--json', '--local', '0']);
    await said(network, /Open http/);
    const url = /Open (\S+)/.exec(network.stderr())?.[1] as string;
    const unit = unitsOf(disturbed)[1] as string;
    for (const source of [
      ['--data-dir', disturbed],
      ['--url', url],
    ]) {
      const one = audit(unit, ...source);
      expect(await one.ended, one.stderr()).toBe(0);
      expect(lastLine(one.stdout())).toMatchObject({ confirmed: 1 });
    }
    network.child.kill('SIGTERM');
    expect(await network.ended).toBe(0);
  });

  test('refutes a result that was exchanged for another unit’s in the database', async () => {
    const [victim, other] = unitsOf(disturbed).slice(1, 3) as [string, string];
    const db = new BetterSqlite3(path.join(disturbed, 'atoll.sqlite'));
    const { changes } = db
      .prepare('UPDATE units SET digest = (SELECT digest FROM units WHERE cid = ?) WHERE cid = ?')
      .run(other, victim);
    db.close();
    expect(changes).toBe(1);
    const one = audit(victim, '--data-dir', disturbed);
    expect(await one.ended, one.stderr()).toBe(1);
    expect(lastLine(one.stdout())).toMatchObject({ refuted: 1 });
  });
});

function unitsOf(dataDir: string): string[] {
  const db = new BetterSqlite3(path.join(dataDir, 'atoll.sqlite'), { readonly: true });
  const rows = db.prepare("SELECT cid FROM units WHERE phase = 'accepted' ORDER BY rowid").all() as {
    cid: string;
  }[];
  db.close();
  return rows.map((row) => row.cid);
}
