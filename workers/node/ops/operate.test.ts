/** What an operator set, put together around a contributor: who holds it, what is served, and what is refused before anything starts. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Config, configOf, readSettings } from '../config.ts';
import { gpuOf, operate, type Operations } from './operate.ts';
import { FakeControl } from './testing/fake-control.ts';
import { buildFakeNvml, hasCompiler } from './testing/fake-nvml.ts';

let dir: string;
let nvml: string | undefined;
const open: Operations[] = [];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-operate-'));
  nvml = process.env['ATOLL_NVML'];
  process.env['ATOLL_NVML'] = path.join(dir, 'none.so');
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  if (nvml === undefined) delete process.env['ATOLL_NVML'];
  else process.env['ATOLL_NVML'] = nvml;
  await rm(dir, { recursive: true, force: true });
});

const log = pino({ level: 'silent' });
const device = { backend: 'wasm', label: 'CPU', vendor: '', software: false } as const;

function configWith(...args: string[]): Config {
  const settings = [
    '--url',
    'http://127.0.0.1:1',
    '--data-dir',
    dir,
    '--name',
    'box',
    '--update-check',
    'off',
  ];
  return configOf(readSettings([...settings, ...args], {}).values);
}

async function start(...args: string[]): Promise<Operations & { control: FakeControl }> {
  const control = new FakeControl({ device });
  const operations = await operate({ config: configWith(...args), control, log, progress: null });
  open.push(operations);
  return { ...operations, control };
}

async function freePort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return String(port);
}

describe('operating a node', () => {
  it('holds nobody and serves nothing unless told to', async () => {
    const { gate, control, healthPort } = await start();
    expect([gate.held.size, control.calls, healthPort]).toEqual([0, [], null]);
  });

  it('keeps schedule, duty and data, each beside the operator', async () => {
    const later = new Date(Date.now() + 12 * 60 * 60_000);
    const hour = String(later.getHours()).padStart(2, '0');
    const { gate, control } = await start(
      '--schedule',
      `${hour}:00-${hour}:01`,
      '--duty',
      '50',
      '--data-max',
      '5MB/day',
    );
    expect([...gate.held.keys()]).toEqual(['schedule']);
    expect(control.calls).toEqual(['pause']);
    control.show({ phase: 'computing' });
    control.show({ phase: 'waiting', bytesDown: 6e6 });
    expect([...gate.held.keys()].sort()).toEqual(['data', 'duty', 'schedule']);
    gate.hold('operator', 'Paused by the operator.', { graceMs: 0 });
    gate.letGo('operator');
    expect(control.calls).not.toContain('resume');
    await open.pop()?.close();
    expect(await readFile(path.join(dir, 'box.traffic.json'), 'utf8')).toContain('6000000');
  });

  it('refuses a cap on power that it could not keep, and says what to do instead', async () => {
    await expect(start('--power-max', '300')).rejects.toThrow(/--power-max.*--duty/);
    await expect(start('--power-max', '300', '--backend', 'wasm')).rejects.toThrow(
      /computes on none.*--duty/,
    );
  });

  it('refuses a port that is taken, with nothing left open', async () => {
    const port = await freePort();
    await start('--health-port', port);
    await expect(start('--health-port', port)).rejects.toMatchObject({ code: 'port_busy' });
  });

  it.skipIf(!hasCompiler)('serves what the card draws, and keeps it within its cap', async () => {
    process.env['ATOLL_NVML'] = buildFakeNvml(dir);
    const { healthPort } = await start('--health-port', await freePort(), '--power-max', '500');
    const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
    expect(text).toContain('atoll_gpu_power_watts{gpu="box"} 412.5');
    expect(text).toContain('atoll_node_ready{worker="box"} 1');
    expect((await fetch(`http://127.0.0.1:${healthPort}/readyz`)).status).toBe(200);
  });

  it('means by the card of this process the one that CUDA is shown', () => {
    expect(gpuOf({ gpu: null }, {})).toBe('0');
    expect(gpuOf({ gpu: null }, { CUDA_VISIBLE_DEVICES: 'GPU-1,GPU-2' })).toBe('GPU-1');
    expect(gpuOf({ gpu: '3' }, { CUDA_VISIBLE_DEVICES: 'GPU-1' })).toBe('3');
  });
});
