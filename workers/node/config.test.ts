/** Settings of the headless contributor: what wins, and what is refused in which words. */
import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config.ts';
import { commandHelp } from './help.ts';

const url = 'http://127.0.0.1:8080';

describe('parseConfig', () => {
  it('takes flags over environment over defaults', () => {
    const env = {
      ATOLL_URL: 'http://other',
      ATOLL_BACKEND: 'webgpu',
      ATOLL_THREADS: '3',
      ATOLL_DATA_DIR: '/data',
    };
    expect(parseConfig(['--url', url, '--name', 'local-1'], env)).toEqual({
      url,
      backend: 'webgpu',
      allowSoftware: false,
      threads: 3,
      name: 'local-1',
      referee: false,
      acceptIdentity: false,
      gpu: null,
      gpus: null,
      nvrtc: null,
      dataDir: '/data',
      keyFile: '/data/local-1.key',
      tuningFile: '/data/gpu-tuning.json',
      kernelDir: '/data/cuda-kernels',
      kernelsDir: '/data/kernels',
      cacheDir: '/data/blocks',
      cacheBytes: 1 << 30,
      peers: 'relay-only',
      uploadMax: null,
      downloadMax: null,
      schedule: null,
      powerMax: null,
      dataMax: null,
      duty: 100,
      logFile: null,
      progress: 'auto',
      drainMs: 30_000,
      healthPort: 0,
      updateCheck: true,
      logLevel: 'info',
      exitWithParent: false,
    });
    expect(parseConfig(['--backend', 'reference'], env)).toMatchObject({
      url: 'http://other',
      backend: 'reference',
    });
    expect(parseConfig(['--url', url], { XDG_DATA_HOME: '/x' })).toMatchObject({
      backend: 'auto',
      threads: Math.max(1, Math.min(8, availableParallelism() - 1)),
      keyFile: '/x/atoll/contributor.key',
    });
    expect(parseConfig(['--url', url, '--key-file', 'k'], env)).toMatchObject({ keyFile: 'k' });
    const capped = parseConfig(['--url', url, '--upload-max', '100000'], { ATOLL_DOWNLOAD_MAX: '2000000' });
    expect(capped).toMatchObject({ uploadMax: 100_000, downloadMax: 2_000_000 });
  });

  it('knows help before anything else', () => {
    expect(parseConfig(['--help'], {})).toBe('help');
    for (const flag of ['--url', '--backend', '--name', '--data-dir', '--key-file', '--exit-with-parent']) {
      expect(commandHelp('run')).toContain(flag);
    }
  });

  it.each([
    [[], /--url is missing/],
    [['--url', 'nonsense'], /not a URL/],
    [['--url', 'ws://host'], /http:\/\/ or https:\/\//],
    [['--url', url, '--backend', 'cupid'], /--backend must be/],
    [['--url', url, '--backend', 'wasm', '--gpu', '0'], /for --backend cuda/],
    [['--url', url, '--gpu', '0', '--gpus', 'all'], /not both/],
    [['--url', url, '--gpu', 'first'], /--gpu takes an index/],
    [['--url', url, '--gpus', '0,1,0'], /--gpus names a graphics processor twice/],
    [['--url', url, '--schedule', 'Mon 9-5'], /--schedule takes hours such as/],
    [['--url', url, '--power-max', '5'], /--power-max takes a number of watts/],
    [['--url', url, '--duty', '0'], /--duty takes a whole number from 1 to 100/],
    [['--url', url, '--health-port', '65536'], /--health-port takes/],
    [['--url', url, '--update-check', 'hourly'], /--update-check must be on or off/],
    [['--url', url, '--drain-seconds', '-1'], /--drain-seconds/],
    [['--url', url, '--thread', '3'], /--thread'.* Did you mean --threads\?/],
    [['--url', url, '--no-refree'], /Did you mean --referee\?/],
    [['--url', url, '--threads', '17'], /--threads takes a whole number from 1 to 16/],
    [['--url', url, '--threads', 'all'], /--threads takes/],
    [['--url', url, '--name', '../../etc/passwd'], /--name takes/],
    [['--url', url, '--upload-max', '1000'], /--upload-max takes a number of bytes a second, 65536 or more/],
    [['--url', url, '--download-max', 'much'], /--download-max takes/],
    [['--url', url, '--log-level', 'loud'], /--log-level must be/],
    [['--url', url, '--nope'], /--nope/],
    [['--url', url, 'stray'], /stray/],
  ])('refuses %j with words', (args, words) => {
    expect(() => parseConfig(args, {})).toThrow(
      expect.objectContaining({ code: 'bad_config', message: expect.stringMatching(words) }),
    );
  });
});
