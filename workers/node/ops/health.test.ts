/** What a node says of itself on loopback: alive, ready, and figures; to nobody who came by another name. */
import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ContributorView } from '../../runtime/view.ts';
import { type Health, startHealth } from './health.ts';
import { Meter } from './meter.ts';
import { nodeMetrics, type Worker } from './metrics.ts';
import { idleView } from './testing/fake-control.ts';

const device = { backend: 'wasm', label: 'CPU', vendor: '', software: false } as const;
const working: ContributorView = {
  ...idleView,
  device,
  phase: 'computing',
  unit: { program: 'p', done: 1, total: 4 },
  ...{ credit: 700, pending: 3, agreed: 100, bytesDown: 1_000, bytesUp: 200, blockBytesDown: 600 },
  swarm: { state: 'on', direct: 1, relayed: 2, failed: 0, peerBytes: 500, servedBytes: 50, originBytes: 300 },
};

let now: number;
let meter: Meter;
let worker: Worker;
let health: Health;
beforeEach(async () => {
  now = 0;
  meter = new Meter(() => now);
  worker = { label: 'box', meter, held: [], restarts: 0 };
  const reading = { watts: 412.5, busy: 0.87, memoryUsedBytes: 1, memoryTotalBytes: 2, celsius: null };
  const registry = nodeMetrics({
    version: '0.1.0',
    workers: () => [worker],
    gpus: () => new Map([['gpu0', reading]]),
  });
  const metrics = async () => ({ type: registry.contentType, text: await registry.metrics() });
  health = await startHealth({ port: 0, workers: () => [worker], metrics });
});
afterEach(() => health.close());

const at = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${health.port}${path}`, init);

/** `fetch` sets this header itself. */
function asHost(host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asking = request(
      { host: '127.0.0.1', port: health.port, path: '/metrics', headers: { host } },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      },
    );
    asking.on('error', reject).end();
  });
}

describe('the health server', () => {
  it('is ready when the device conforms and the coordinator has said welcome, also while paused', async () => {
    expect((await at('/readyz')).status).toBe(503);
    meter.seen({ ...working, checks: { conforming: false, connected: false }, phase: 'probing' });
    expect((await at('/readyz')).status).toBe(503);
    meter.seen({ ...working, checks: { conforming: true, connected: false } });
    const away = await at('/readyz');
    expect(away.status).toBe(503);
    expect(await away.json()).toMatchObject({
      workers: [{ checks: { device: true, conforming: true, connected: false } }],
    });
    meter.seen({ ...working, phase: 'paused' });
    expect((await at('/readyz')).status).toBe(200);
  });

  it('is alive until it has failed', async () => {
    expect((await at('/healthz')).status).toBe(200);
    meter.seen({ ...working, phase: 'failed', reason: 'The device was lost.' });
    const failed = await at('/healthz');
    expect(failed.status).toBe(503);
    expect(await failed.text()).toMatch(/The device was lost/);
  });

  it('serves what was done, in figures', async () => {
    worker = { ...worker, held: ['duty'], restarts: 2 };
    meter.seen({ ...working, phase: 'waiting' });
    meter.seen(working);
    now = 5_000;
    meter.seen({ ...working, agreed: 101, rejected: 1 });
    now = 7_000;
    const text = await (await at('/metrics')).text();
    for (const line of [
      'atoll_node_ready{worker="box"} 1',
      'atoll_node_phase{worker="box",phase="computing"} 1',
      'atoll_node_phase{worker="box",phase="paused"} 0',
      'atoll_node_held{worker="box",by="duty"} 1',
      'atoll_node_credit{worker="box"} 700',
      'atoll_node_pending{worker="box"} 3',
      'atoll_node_unit_progress_ratio{worker="box"} 0.25',
      'atoll_node_units_total{worker="box",outcome="agreed"} 1',
      'atoll_node_units_total{worker="box",outcome="rejected"} 1',
      'atoll_node_computing_seconds_total{worker="box"} 7',
      'atoll_node_reconnects_total{worker="box"} 0',
      'atoll_node_restarts_total{worker="box"} 2',
      'atoll_node_bytes_total{worker="box",direction="down",with="coordinator"} 700',
      'atoll_node_bytes_total{worker="box",direction="down",with="peers"} 500',
      'atoll_node_bytes_total{worker="box",direction="up",with="coordinator"} 200',
      'atoll_node_bytes_total{worker="box",direction="up",with="peers"} 50',
      'atoll_node_peers{worker="box",link="relayed"} 2',
      'atoll_gpu_power_watts{gpu="gpu0"} 412.5',
      'atoll_gpu_busy_ratio{gpu="gpu0"} 0.87',
      'atoll_node_info{version="0.1.0"} 1',
    ]) {
      expect(text).toContain(`${line}\n`);
    }
    expect(text).toMatch(/atoll_node_resident_bytes [1-9]/);
    expect(text).not.toMatch(/atoll_gpu_temperature_celsius\{/); // this one does not tell
    expect(await (await at('/metrics')).text()).toContain(
      'atoll_node_units_total{worker="box",outcome="agreed"} 1\n',
    );
  });

  it('does not count the totals that the account had before, nor those that come with a welcome', () => {
    meter.seen({ ...working, agreed: 0, connections: 0 });
    meter.seen({ ...working, agreed: 5_000, connections: 1 });
    meter.seen({ ...working, agreed: 5_002, connections: 1 });
    meter.seen({ ...working, agreed: 5_010, connections: 2 });
    expect([meter.agreed, meter.reconnects]).toEqual([2, 1]);
    meter.forget();
    meter.seen({ ...working, agreed: 9_000, connections: 0 });
    expect(meter.agreed).toBe(2);
  });

  it('answers nobody who came by another name, and to no other method or path', async () => {
    expect(await asHost('evil.example')).toBe(403);
    expect(await asHost(`localhost:${health.port}`)).toBe(200);
    expect((await at('/metrics', { method: 'POST' })).status).toBe(405);
    expect((await at('/')).status).toBe(404);
    expect(await (await at('/healthz', { method: 'HEAD' })).text()).toBe('');
  });

  it('says so when the port is taken', async () => {
    const again = startHealth({
      port: health.port,
      workers: () => [],
      metrics: async () => ({ type: '', text: '' }),
    });
    await expect(again).rejects.toMatchObject({ code: 'port_busy' });
  });
});
