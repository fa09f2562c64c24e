/**
 * Takes the best device of this machine and says why: CUDA where the program has it, WebGPU on real hardware, else WebAssembly on threads, else on one.
 *
 * What cannot be used is passed over and named with its reason; nothing is silent. The reference is never taken unless it is asked for: it is for
 * checking. A device that was chosen over another has passed the conformance probe, so that a GPU that rounds differently costs nobody the network.
 */
import type { Hex } from 'viem';
import { AtollError, codeOf } from '#protocol/errors.ts';
import { type BackendName, createDevice, type CreateDeviceOptions } from './create.ts';
import type { Device } from './device.ts';
import { createProvenDevice, prove } from './proven.ts';
import { canShareMemory, threadsMax } from './wasm-pool.ts';

/** `auto`: the best that can be used. A backend by its name: that one or an error. */
export type BackendChoice = 'auto' | BackendName;

export interface ChooseOptions extends Omit<CreateDeviceOptions, 'gpu'> {
  /** Where adapters come from, asked only when WebGPU is considered; `navigator.gpu` unless given. */
  gpu?: () => Promise<GPU>;
}

export interface Chosen {
  device: Device;
  /** Full sentences for a person: what computes, and why nothing better does. */
  why: string;
  /** What the probe gave, where it was run to choose. */
  probe?: Hex;
}

const order: Record<BackendChoice, readonly BackendName[]> = {
  auto: ['cuda', 'webgpu', 'wasm'],
  cuda: ['cuda'],
  webgpu: ['webgpu'],
  wasm: ['wasm'],
  reference: ['reference'],
};
const names: Record<BackendName, string> = {
  cuda: 'CUDA',
  webgpu: 'WebGPU',
  wasm: 'WebAssembly',
  reference: 'The reference',
};
/** What another backend can make up for. */
const passable: readonly string[] = ['no_device', 'out_of_memory', 'nonconforming', 'device_lost'];

/** Throws `no_device` with every reason when nothing can be used, the backend's own error when it was named, or `cancelled`. */
export async function chooseDevice(choice: BackendChoice, options: ChooseOptions = {}): Promise<Chosen> {
  // A page has no CUDA and need not say so.
  const candidates = order[choice].filter((each) => choice !== 'auto' || each !== 'cuda' || options.cuda);
  const reasons: string[] = [];
  for (const backend of candidates) {
    try {
      const opened = await open(backend, options, candidates.length > 1);
      return { ...opened, why: [opened.why, ...reasons].join(' ') };
    } catch (error) {
      if (candidates.length === 1 || !passable.includes(codeOf(error))) throw error;
      reasons.push(passedOver(names[backend], error));
    }
  }
  throw new AtollError('no_device', `Nothing here can compute. ${reasons.join(' ')}`);
}

async function open(backend: BackendName, options: ChooseOptions, isChoice: boolean): Promise<Chosen> {
  if (backend === 'cuda') return openCuda(options, isChoice);
  if (backend === 'webgpu') return openGpu(options, isChoice);
  if (backend === 'wasm') return openWasm(options);
  return {
    device: await createDevice('reference'),
    why: 'Computes with the TypeScript reference, as asked for: the same bits, very slowly.',
  };
}

async function openCuda({ cuda, signal }: ChooseOptions, isChoice: boolean): Promise<Chosen> {
  const device = await createDevice('cuda', { ...(cuda ? { cuda } : {}), ...(signal ? { signal } : {}) });
  const why = `Computes on the graphics processor (${device.info.label}) through CUDA.`;
  return isChoice ? { device, why, probe: await prove(device) } : { device, why };
}

async function openGpu({ gpu, ...options }: ChooseOptions, isChoice: boolean): Promise<Chosen> {
  const found = gpu ? { gpu: await gpu() } : {};
  const make = (arithmetic?: 'soft') =>
    createDevice('webgpu', { ...options, ...found, ...(arithmetic ? { arithmetic } : {}) });
  if (!isChoice) {
    const device = await make();
    return { device, why: whyGpu(device) };
  }
  const { device, probe, soft } = await createProvenDevice(make, options.signal);
  return { device, probe, why: soft ? `${whyGpu(device)} ${whySoft}` : whyGpu(device) };
}

const whySoft =
  'Its own floating point gave other bits than the reference, so it computes with integers where that matters.';

function whyGpu({ info }: Device): string {
  return info.software
    ? 'Computes through WebGPU on a software adapter, as asked for.'
    : 'Computes on the graphics processor through WebGPU.';
}

async function openWasm(options: ChooseOptions): Promise<Chosen> {
  const { signal } = options;
  const threads = Math.min(options.threads ?? 1, threadsMax);
  const one = 'Computes on the processor through WebAssembly, on one thread.';
  const single = () => createDevice('wasm', signal ? { signal } : {});
  if (threads <= 1) return { device: await single(), why: one };
  if (!canShareMemory()) {
    return { device: await single(), why: `${one} Threads need a page that is cross-origin isolated.` };
  }
  try {
    const device = await createDevice('wasm', { threads, ...(signal ? { signal } : {}) });
    return { device, why: `Computes on the processor through WebAssembly, on ${threads} threads.` };
  } catch (error) {
    if (!passable.includes(codeOf(error))) throw error;
    return { device: await single(), why: `${one} ${passedOver('More threads', error)}` };
  }
}

/** What it is, without what to do about it: who did not ask for it has nothing to do. */
function firstSentence(message: string): string {
  return /^.*?[.!?](?=\s|$)/.exec(message)?.[0] ?? message;
}

function passedOver(what: string, error: unknown): string {
  const whole = (error as Error).message;
  const message = what === names.cuda ? firstSentence(whole) : whole;
  return `${what} ${what.endsWith('s') ? 'were' : 'was'} passed over: ${/[.!?]$/.test(message) ? message : `${message}.`}`;
}
