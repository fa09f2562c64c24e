/**
 * The doctor on prepared faults, real ones where a machine has them: each is found, alone, and told with what to do about it. What no machine offers at will (a device
 * that rounds otherwise, a full disk without root's help, an old Node) comes through a port.
 */
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCoordinator } from '#coordinator/main.ts';
import { createDevice, type Device, probeDigest } from '#kernels/index.ts';
import { initialCheckpoint } from '#kernels/model/init.ts';
import { AtollError } from '#protocol/errors.ts';
import { checkOf, diagnose, type DoctorPorts } from '../commands/doctor.ts';
import { readSettings } from '../config.ts';
import type { DevicePorts } from './device.ts';
import { realMachine } from './machine.ts';
import { onTrial, realDevices } from './trial.ts';

let dir: string;
let servers: Server[];
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'atoll-doctor-'));
  servers = [];
});
afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

/** A device that answers at once, for what is not about devices. */
const quick: DevicePorts = {
  cuda: async () => {
    throw new AtollError('no_device', "NVIDIA's driver is not here. Install it.");
  },
  nvrtc: async () => ({ version: '13.0', file: 'libnvrtc.so.13' }),
  open: async () => ({
    ...{ label: 'Quick', why: 'For a test.', expected: probeDigest },
    ...{ probe: async () => probeDigest, tokensPerSecond: async () => 1_000, close: async () => {} },
  }),
};

async function examine(args: string[], ports: Partial<DoctorPorts> = {}) {
  const given = args.some((arg) => arg === '--data-dir') ? args : [...args, '--data-dir', dir];
  const diagnosis = await diagnose(readSettings(given, {}), { devices: quick, ...ports });
  const faults = diagnosis.checks.filter(({ state }) => state === 'fail').map(({ id }) => id);
  for (const { state, fix, detail } of diagnosis.checks) {
    expect(detail).toMatch(/[.!?)]$/);
    if (state === 'fail' || state === 'warn') expect(fix).toMatch(/\w/);
  }
  return { diagnosis, faults, check: (id: string) => checkOf(diagnosis, id) };
}

async function serve(answer: RequestListener): Promise<string> {
  const server = createHttp(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const network = JSON.stringify({
  ...{ network: `0x${'12'.repeat(32)}`, version: '0.1.0', chain: null, contributorsOnline: 1 },
});

/** What a coordinator answers over HTTP, with a Date of its own. */
const answerAt =
  (date: () => Date): RequestListener =>
  (request, response) => {
    response.sendDate = false;
    response.setHeader('date', date().toUTCString());
    if (request.url === '/v1/network') response.end(network);
    else response.writeHead(404).end();
  };

describe('a healthy machine and a real coordinator', () => {
  it('have no fault, and nothing is left behind', async () => {
    const dataDir = path.join(dir, 'coordinator');
    const coordinator = await createCoordinator({ dataDir, port: 0, initialCheckpoint, probe: probeDigest });
    try {
      const own = path.join(dir, 'own');
      await mkdir(own);
      const { diagnosis, faults } = await examine(['--url', coordinator.url, '--data-dir', own]);
      expect(faults).toEqual([]);
      expect(diagnosis.ok).toBe(true);
      for (const id of ['dns', 'connection', 'coordinator', 'clock', 'websocket', 'conformance', 'speed']) {
        expect(checkOf(diagnosis, id)).toMatchObject({ state: 'ok' });
      }
      expect(await readdir(own)).toEqual([]);
    } finally {
      await coordinator.close();
    }
  });
});

describe('ten prepared faults, and some more', () => {
  it('1. no coordinator was named', async () => {
    const { faults, check } = await examine([]);
    expect(faults).toEqual(['dns']);
    expect(check('dns').fix).toMatch(/--url/);
  });

  it('2. a name that nobody knows', async () => {
    const { faults, check } = await examine(['--url', 'http://no-such-host.invalid']);
    expect(faults).toEqual(['dns']);
    expect(check('dns').detail).toMatch(/no-such-host\.invalid/);
    expect(check('connection')).toMatchObject({ state: 'skipped' });
  });

  it('3. a closed port; and a proxy that is named and not used', async () => {
    const server = createTcp();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const url = `http://127.0.0.1:${port}`;
    const { faults, check } = await examine(['--url', url]);
    expect(faults).toEqual(['connection']);
    expect(check('connection')).toMatchObject({ detail: `Nobody listens on 127.0.0.1:${port}.` });
    const env = { http_proxy: 'http://127.0.0.1:3128' };
    const behind = await examine(['--url', url], { network: { env, now: Date.now } });
    expect(behind.check('connection').fix).toMatch(/NODE_USE_ENV_PROXY=1/);
  });

  it('4. a server that is no coordinator', async () => {
    const url = await serve((_, response) => response.end('<h1>Welcome to nginx</h1>'));
    const { faults, check } = await examine(['--url', url]);
    expect(faults).toEqual(['coordinator']);
    expect(check('coordinator').fix).toMatch(/--url/);
  });

  it('5. https where only http is spoken', async () => {
    const url = await serve((_, response) => response.end());
    const { faults, check } = await examine(['--url', url.replace('http:', 'https:')]);
    expect(faults).toEqual(['tls']);
    expect(check('tls').fix).toMatch(/http:\/\//);
  });

  it('6. a clock that is wrong by an hour, either way, and by a minute', async () => {
    for (const [ms, words, state] of [
      [-3_600_000, 'ahead of', 'fail'],
      [3_600_000, 'behind', 'fail'],
      [60_000, 'behind', 'warn'],
    ] as const) {
      const url = await serve(answerAt(() => new Date(Date.now() + ms)));
      const { check } = await examine(['--url', url]);
      expect(check('clock')).toMatchObject({ state, detail: expect.stringContaining(words) });
      expect(check('clock').fix).toMatch(/timedatectl/);
    }
  });

  it('7. HTTP passes and WebSockets do not', async () => {
    const { faults, check } = await examine(['--url', await serve(answerAt(() => new Date()))]);
    expect(faults).toEqual(['websocket']);
    expect(check('websocket').fix).toMatch(/Upgrade/);
  });

  it('8. a key that others can read, and a file that is no key, which is not quoted', async () => {
    await writeFile(path.join(dir, 'contributor.key'), 'secret-that-is-no-key', { mode: 0o600 });
    const wrong = await examine(['--url', 'http://127.0.0.1:1']);
    expect(wrong.check('key')).toMatchObject({ state: 'fail', fix: expect.stringMatching(/--key-file/) });
    expect(JSON.stringify(wrong.diagnosis)).not.toContain('secret-that-is-no-key');
    await chmod(path.join(dir, 'contributor.key'), 0o644);
    const { check } = await examine(['--url', 'http://127.0.0.1:1']);
    expect(check('key')).toMatchObject({ state: 'fail', fix: expect.stringMatching(/chmod 600/) });
  });

  it('9. a file where the data folder should be', async () => {
    await writeFile(path.join(dir, 'file'), '');
    const { faults, check } = await examine(['--data-dir', path.join(dir, 'file', 'deeper')]);
    expect(faults).toContain('data');
    expect(check('data').fix).toMatch(/--data-dir/);
  });

  it.skipIf(process.platform !== 'linux')('10. a folder that may not be written', async () => {
    const { check } = await examine(['--data-dir', '/proc']);
    expect(check('data')).toMatchObject({ state: 'fail', fix: expect.stringMatching(/--data-dir/) });
  });

  it('11. a full disk', async (context) => {
    const full = path.join(dir, 'full');
    await mkdir(full);
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', full]);
    if (mounted.status !== 0) context.skip('This needs leave to mount a small file system.');
    try {
      const { check } = await examine(['--data-dir', full]);
      expect(check('data')).toMatchObject({ state: 'fail', detail: expect.stringMatching(/used up/) });
      expect(check('disk')).toMatchObject({ state: 'fail' });
    } finally {
      spawnSync('umount', [full]);
    }
  });

  it('12. too little disk: for the node, and for the blocks it may keep', async () => {
    const small = { ...realMachine, freeBytes: async () => 100 << 20 };
    const { check } = await examine([], { machine: small });
    expect(check('disk')).toMatchObject({ state: 'fail', fix: expect.stringMatching(/--data-dir/) });
    const greedy = await examine(['--cache-bytes', '999999999999999']);
    expect(greedy.check('disk')).toMatchObject({
      state: 'warn',
      fix: expect.stringMatching(/--cache-bytes/),
    });
  });

  it('13. too little memory, and a Node that is too old', async () => {
    const machine = {
      ...realMachine,
      nodeVersion: '20.11.0',
      memory: () => ({ available: 100 << 20, total: 1 << 30 }),
    };
    const { faults, check } = await examine([], { machine });
    expect(faults).toEqual(['node', 'memory', 'dns']);
    expect(check('node').fix).toMatch(/npx atoll node/);
  });

  it('14. CUDA is asked for where there is no driver, and NVRTC is not where it was said to be', async () => {
    const args = ['--backend', 'cuda', '--nvrtc', path.join(dir, 'libnvrtc.so')];
    const config = readSettings([...args, '--url', 'http://127.0.0.1:1', '--data-dir', dir], {});
    const { configOf } = await import('../config.ts');
    const real = realDevices(configOf(config.values));
    const noDriver = { ...quick, nvrtc: real.nvrtc };
    const { faults, check } = await examine(args, { devices: noDriver });
    expect(faults).toEqual(['dns', 'driver', 'nvrtc']);
    expect(check('driver').fix).toMatch(/Install/);
    expect(check('nvrtc').detail).toContain(path.join(dir, 'libnvrtc.so'));
    expect(check('device')).toMatchObject({ state: 'skipped' });
  });

  it('15. no NVIDIA GPU is no fault where nobody asked for one', async () => {
    const { check } = await examine([]);
    expect(check('driver')).toMatchObject({ state: 'skipped' });
    expect(check('nvrtc')).toMatchObject({ state: 'skipped' });
  });

  it('16. a device that gives other bits, and one that is not there', async () => {
    let closed = 0;
    const device = lying(await createDevice('wasm'));
    const liar: DevicePorts = {
      ...quick,
      open: async () => ({
        ...onTrial({ device, why: 'It lies.' }),
        close: async () => void closed++,
      }),
    };
    const { faults, check } = await examine(['--backend', 'wasm'], { devices: liar });
    expect(faults).toEqual(['dns', 'conformance']);
    expect(check('conformance').fix).toMatch(/--backend: wasm/);
    expect(check('speed')).toMatchObject({ state: 'skipped' });
    expect(closed).toBe(1);
    const open = async () => {
      throw new AtollError('no_device', 'There is no GPU.');
    };
    const none = await examine(['--backend', 'webgpu'], { devices: { ...quick, open } });
    expect(none.check('device')).toMatchObject({
      state: 'fail',
      fix: expect.stringMatching(/--backend wasm/),
    });
  });

  it('17. a device so slow that leases run out', async () => {
    const device = await quick.open(new AbortController().signal);
    const open = async () => ({ ...device, tokensPerSecond: async () => 5 });
    const { check } = await examine([], { devices: { ...quick, open } });
    expect(check('speed')).toMatchObject({ state: 'warn', fix: expect.stringMatching(/--threads/) });
  });
});

/** The lowest bit of the first word of whatever is read is another. */
function lying(device: Device): Device {
  return {
    ...device,
    scope: () => lying(device.scope()),
    async read(tensor) {
      const words = (await device.read(tensor)).slice();
      const bits = new Uint32Array(words.buffer);
      if (bits.length > 0) bits[0] = (bits[0] as number) ^ 1;
      return words;
    },
  };
}
