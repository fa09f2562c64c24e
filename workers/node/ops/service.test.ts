/** The systemd unit: what it says, and that systemd takes it and finds little left to protect. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../exit-codes.ts';
import { installService, readabilityWarnings, serviceCommand, serviceUnit } from './service.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(path.join(tmpdir(), 'atoll-service-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const command = ['/usr/bin/node', 'main.ts', 'run', '--url', 'http://127.0.0.1:4400'];
const lineOf = (unit: string, name: string) => unit.split('\n').filter((line) => line.startsWith(`${name}=`));

describe('the service', () => {
  it('is started again unless that would not help', () => {
    const unit = serviceUnit({ command });
    const [prevented = ''] = lineOf(unit, 'RestartPreventExitStatus');
    const codes = prevented.split('=')[1]?.split(' ').map(Number) ?? [];
    const { badConfig, nonconforming, refused, nameTaken, identityChanged } = exitCodes;
    for (const code of [badConfig, nonconforming, refused, nameTaken, identityChanged])
      expect(codes).toContain(code);
    for (const code of [exitCodes.unexpected, exitCodes.noDevice, exitCodes.deviceFailed])
      expect(codes).not.toContain(code);
    expect(lineOf(unit, 'TimeoutStopSec')).toEqual(['TimeoutStopSec=35']);
    expect(lineOf(serviceUnit({ command, drainSeconds: 120 }), 'TimeoutStopSec')).toEqual([
      'TimeoutStopSec=125',
    ]);
  });

  it('runs as nobody in particular, or as whom it is told', () => {
    expect(lineOf(serviceUnit({ command }), 'DynamicUser')).toEqual(['DynamicUser=yes']);
    const named = serviceUnit({ command, user: 'atoll', name: 'atoll-2' });
    expect([
      ...lineOf(named, 'User'),
      ...lineOf(named, 'DynamicUser'),
      ...lineOf(named, 'StateDirectory'),
    ]).toEqual(['User=atoll', 'StateDirectory=atoll-2']);
  });

  it('leaves no argument to be read as something else', () => {
    const unit = serviceUnit({
      command: ['/usr/bin/node', '--schedule', 'Mo-Fr 19:00-07:00', '--name', '50%$HOME"\\'],
    });
    expect(lineOf(unit, 'ExecStart')).toEqual([
      'ExecStart=/usr/bin/node --schedule "Mo-Fr 19:00-07:00" --name "50%%$$HOME\\"\\\\"',
    ]);
    expect(() => serviceUnit({ command: ['a\nExecStartPre=/bin/evil'] })).toThrow(/line break/);
  });

  it('is written whole, and says what to do next', async () => {
    const said = await installService({ command }, dir);
    expect(await readFile(path.join(dir, 'atoll-node.service'), 'utf8')).toBe(serviceUnit({ command }));
    expect(said.join('\n')).toMatch(/systemctl enable --now atoll-node|enable --now atoll-node/);
    await writeFile(path.join(dir, 'file'), '');
    await expect(installService({ command }, path.join(dir, 'file'))).rejects.toThrow(/--print/);
  });

  it('warns where its account could not read the program', async () => {
    expect(readabilityWarnings(['/usr/bin/env', dir], undefined)[0]).toMatch(/cannot be read.*--user/); // made with 0700
    expect(readabilityWarnings([dir], 'me')).toEqual([]);
    expect(readabilityWarnings(['/usr/bin/env'], undefined)).toEqual([]);
  });

  const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
  if (!hasSystemd)
    console.warn('Skipped: what systemd says of the unit, since there is no systemd-analyze here.');

  it.skipIf(!hasSystemd)('is taken by systemd without a word, and rated as well protected', async () => {
    const file = path.join(dir, 'atoll-node.service');
    await writeFile(file, serviceUnit({ command: serviceCommand(['--url', 'http://127.0.0.1:4400']) }));
    const verify = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
    const about = verify.stderr.split('\n').filter((line) => line.includes('atoll-node'));
    expect(about).toEqual([]);
    const security = spawnSync('systemd-analyze', ['security', '--offline=true', '--json=short', file], {
      encoding: 'utf8',
    });
    const rated = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', file], {
      encoding: 'utf8',
    });
    expect(security.status, security.stderr).toBe(0);
    const exposure = Number(/exposure level for \S+: ([\d.]+)/.exec(rated.stdout)?.[1]);
    expect(exposure).toBeLessThan(3);
  });
});
