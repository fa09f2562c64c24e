/** Checks of what computes: NVIDIA's driver and NVRTC where CUDA may be used, the device itself, whether it gives the reference's bits, and how fast it trains. */
import { codeOf } from '#protocol/errors.ts';
import { limits } from '#protocol/limits.ts';
import type { Config } from '../config.ts';
import { type CheckSpec, fail, type Finding, ok, skipped, warn } from './check.ts';
import { splitRemedy } from './machine.ts';
import type { DeviceOnTrial } from './trial.ts';

export interface DevicePorts {
  /** Names of the GPUs and the driver's version (1000 * major + 10 * minor). Throws `no_device`. */
  cuda(gpu: string | null): Promise<{ name: string; driverVersion: number }>;
  /** Its version and where it is. Throws `no_device`. */
  nvrtc(driverVersion: number, given: string | null): Promise<{ version: string; file: string }>;
  /** Throws `no_device` and others, as a node would. */
  open(signal: AbortSignal): Promise<DeviceOnTrial>;
}

/** Pipelines are compiled at first use, on a slow processor for minutes. */
const deviceMs = 180_000;
/** Tokens of the unit that `npm start` hands out: 25 steps of 8 windows of 64. */
const unitTokens = 25 * 8 * 64;

const backendFix: Record<Config['backend'], string> = {
  auto: 'Run `atoll node doctor --backend wasm`: what it says is the least that a node needs.',
  cuda: "Install NVIDIA's driver, or use --backend auto.",
  webgpu: 'Install a Vulkan driver of the graphics processor, or use --backend wasm.',
  wasm: 'Reinstall the packages with `npm run node`, and see that there is memory.',
  reference: 'Reinstall the packages with `npm run node`.',
};

export function deviceChecks(config: Config, ports: DevicePorts): CheckSpec[] {
  const { backend } = config;
  const trial = new Trial(config, ports);
  const step = (id: string, title: string, run: CheckSpec['run']): CheckSpec => ({
    ...{ id, title, run },
    msMax: deviceMs,
  });
  return [
    step('driver', "NVIDIA's driver", () => trial.driver()),
    step('nvrtc', 'NVRTC', (_, found) => trial.nvrtc(found.get('driver') === 'ok')),
    step('device', `Device (--backend ${backend})`, async (signal, found) =>
      backend === 'cuda' && (found.get('driver') === 'fail' || found.get('nvrtc') === 'fail')
        ? skipped('Cannot be told before what is above is mended.')
        : trial.device(signal),
    ),
    step('conformance', 'Same bits as the reference', () => trial.conformance()),
    step('speed', 'Speed', () => trial.speed()),
  ];
}

class Trial {
  readonly #config: Config;
  readonly #ports: DevicePorts;
  #driverVersion = Infinity;
  #device: DeviceOnTrial | null = null;
  #isConforming = false;

  constructor(config: Config, ports: DevicePorts) {
    this.#config = config;
    this.#ports = ports;
  }

  async driver(): Promise<Finding> {
    const { backend, gpu } = this.#config;
    if (backend !== 'auto' && backend !== 'cuda') return skipped(`--backend ${backend} does without.`);
    try {
      const { name, driverVersion } = await this.#ports.cuda(gpu);
      this.#driverVersion = driverVersion;
      return ok(`${name}; the driver is for CUDA ${versionWords(driverVersion)}.`);
    } catch (error) {
      return this.#cudaFinding(error, backendFix.cuda);
    }
  }

  async nvrtc(hasDriver: boolean): Promise<Finding> {
    const { backend, nvrtc } = this.#config;
    if (backend !== 'cuda' && !hasDriver) return skipped('It is for CUDA, which is not used.');
    try {
      const { version, file } = await this.#ports.nvrtc(this.#driverVersion, nvrtc);
      return ok(`Version ${version}, ${file}.`);
    } catch (error) {
      return this.#cudaFinding(
        error,
        '`pip install nvidia-cuda-nvrtc` brings it; --nvrtc FILE names it.',
        hasDriver,
      );
    }
  }

  /** Who asked for CUDA has a fault; who has a GPU and cannot use it is told; who has none has nothing to do. */
  #cudaFinding(error: unknown, fix: string, hasDriver = false): Finding {
    const [detail, remedy = fix] = splitRemedy((error as Error).message);
    if (this.#config.backend === 'cuda' || this.#config.gpu !== null) return fail(detail, remedy);
    return hasDriver ? warn(detail, remedy) : skipped(`${detail} Another backend is taken.`);
  }

  async device(signal: AbortSignal): Promise<Finding> {
    const { backend } = this.#config;
    try {
      this.#device = await this.#ports.open(signal);
      const { label, why } = this.#device;
      return ok(`${label}. ${why}`);
    } catch (error) {
      const { message } = error as Error;
      if (codeOf(error) === 'nonconforming') return nonconforming(message);
      return fail(message, backendFix[backend]);
    }
  }

  async conformance(): Promise<Finding> {
    if (!this.#device) return skipped('There is no device.');
    const { expected, label } = this.#device;
    this.#isConforming = (await this.#device.probe()) === expected;
    if (this.#isConforming) return ok(`${label} gives the reference's bits in the conformance probe.`);
    return nonconforming(
      `In the conformance probe, ${label} gave other bits than the reference: its results could agree with nobody's.`,
    );
  }

  async speed(): Promise<Finding> {
    const device = this.#device;
    if (!device) return skipped('There is no device.');
    try {
      if (!this.#isConforming) return skipped('Wrong bits have no speed.');
      const perSecond = await device.tokensPerSecond();
      const words = `${Math.round(perSecond).toLocaleString('en')} tokens a second in training a small GPT (2 layers, 64 channels).`;
      const unitMs = (unitTokens / perSecond) * 1000;
      if (unitMs < limits.leaseMsMax / 2) return ok(words);
      const fix = 'Give it more --threads, or use a faster --backend.';
      return warn(`${words} Units may take longer than their leases.`, fix);
    } finally {
      this.#device = null;
      await device.close();
    }
  }
}

function nonconforming(detail: string): Finding {
  return fail(
    detail,
    'Update the graphics driver, or use another --backend: wasm gives the right bits everywhere.',
  );
}

function versionWords(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}
