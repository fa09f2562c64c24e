/** A contributor for each graphics processor: what each is told, and that they run, come back, speak through one process, and end together. */
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configOf, readSettings } from '../config.ts';
import { childSpec, superviseGpus } from './fleet.ts';
import { buildFakeNvml, hasCompiler } from './testing/fake-nvml.ts';

let dir: string;
let nvml: string | undefined;
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-fleet-'));
  nvml = process.env['ATOLL_NVML'];
});
afterEach(async () => {
  if (nvml === undefined) delete process.env['ATOLL_NVML'];
  else process.env['ATOLL_NVML'] = nvml;
  await rm(dir, { recursive: true, force: true });
});

const log = pino({ level: 'silent' });
const gpu = { label: 'gpu1-mig0', uuid: 'MIG-22222222-aaaa', name: 'Test' };

function settle(args: string[], env: NodeJS.ProcessEnv = {}) {
  const { settings, values } = readSettings(['--url', 'http://127.0.0.1:1', '--data-dir', dir, ...args], env);
  return { settings, config: configOf(values) };
}

describe('what a child is told', () => {
  it('is what we were, but for its processor, its name, its key and its share', () => {
    const args = [
      '--gpus',
      'all',
      '--name',
      'box',
      '--key-file',
      '/k',
      '--health-port',
      '9000',
      '--data-max',
      '8GB/day',
      '--exit-with-parent',
    ];
    const { settings, config } = settle([...args, '--no-referee', '--schedule', 'Mo-Fr'], {
      ATOLL_PEERS: 'off',
    });
    const { args: told, env } = childSpec(gpu, 4, config, settings);
    expect(env).toEqual({
      CUDA_VISIBLE_DEVICES: gpu.uuid,
      CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
      ATOLL_SUPERVISED: '1',
    });
    expect(told[0]).toBe('run');
    expect(configOf(readSettings(told.slice(1), {}).values)).toEqual({
      ...config,
      ...{ name: 'box-gpu1-mig0', keyFile: '/k-gpu1-mig0', backend: 'cuda', gpus: null },
      ...{
        healthPort: 0,
        updateCheck: false,
        progress: 'off',
        dataMax: '2000000000/day',
        exitWithParent: true,
      },
    });
  });

  it('wins over the environment and the config file that both of us read', async () => {
    await appendFile(
      path.join(dir, 'node.json'),
      JSON.stringify({ gpus: ['all'], name: 'box', 'health-port': 9000, duty: 40 }),
    );
    const env = {
      ATOLL_GPUS: 'all',
      ATOLL_HEALTH_PORT: '9001',
      ATOLL_BACKEND: 'auto',
      ATOLL_PROGRESS: 'auto',
    };
    const { settings, config } = settle([], env);
    const { args } = childSpec(gpu, 1, config, settings);
    const theirs = configOf(readSettings(args.slice(1), env).values);
    expect(theirs).toMatchObject({
      name: 'box-gpu1-mig0',
      gpus: null,
      healthPort: 0,
      backend: 'cuda',
      duty: 40,
      progress: 'off',
    });
    expect(theirs.keyFile).toBe(path.join(dir, 'box-gpu1-mig0.key'));
  });
});

/** Notes its arguments, says that it works; the first life of gpu0 ends by a crash. */
const program = `
  const fs = require('node:fs');
  const name = process.argv[process.argv.indexOf('--name') + 1];
  fs.appendFileSync(process.env.NOTES, name + ' ' + process.env.CUDA_VISIBLE_DEVICES + '\\n');
  const lives = fs.readFileSync(process.env.NOTES, 'utf8').split(name + ' ').length - 1;
  process.on('SIGTERM', () => process.exit(0));
  process.on('message', ({ t }) => say(t));
  const say = (reason) => process.send({ t: 'view', view: { phase: 'waiting', reason, agreed: 0, rejected: 0 } });
  if (name.endsWith('gpu0') && lives === 1) process.kill(process.pid, 'SIGKILL');
  say('up');
  setInterval(() => {}, 1000);`;

describe.skipIf(!hasCompiler)('a fleet', () => {
  it('runs one process a processor, brings back who crashes, passes words on, and ends as one', async () => {
    process.env['ATOLL_NVML'] = buildFakeNvml(dir);
    process.env['NOTES'] = path.join(dir, 'notes');
    const fleet = await superviseGpus({
      ...settle(['--gpus', 'all', '--update-check', 'off']),
      log,
      progress: null,
      program: [process.execPath, '-e', program, '--'],
    });
    const until = async (isSo: () => boolean) => {
      while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const reasons = () => fleet.states().map(({ view }) => view?.reason);
    await until(() => reasons().every((reason) => reason === 'up'));
    expect(fleet.states().map(({ label, restarts }) => `${label} ${restarts}`)).toEqual([
      'gpu0 1',
      'gpu1-mig0 0',
      'gpu1-mig2 0',
    ]);
    fleet.pause();
    await until(() => reasons().every((reason) => reason === 'pause'));
    fleet.stop();
    expect(await fleet.ended).toBe(0);
    const notes = (await readFile(path.join(dir, 'notes'), 'utf8')).trim().split('\n').sort();
    expect(notes).toEqual([
      'contributor-gpu0 GPU-00000000-aaaa-bbbb-cccc-000000000000',
      'contributor-gpu0 GPU-00000000-aaaa-bbbb-cccc-000000000000',
      'contributor-gpu1-mig0 MIG-22222222-aaaa-bbbb-cccc-222222222222',
      'contributor-gpu1-mig2 MIG-33333333-aaaa-bbbb-cccc-333333333333',
    ]);
  });

  it('does not begin with processors that are not there', async () => {
    process.env['ATOLL_NVML'] = buildFakeNvml(dir);
    const none = superviseGpus({ ...settle(['--gpus', '5']), log, progress: null });
    await expect(none).rejects.toThrow(/There are: 0 \(GPU-0000/);
  });
});
