/**
 * Which graphics processors `--gpus` means: all, indices, UUIDs or MIG instances, against those that NVML, or else `nvidia-smi -L`, lists.
 *
 * A processor that is cut by MIG stands for all its instances, each of which is worked by a process of its own, as CUDA wants it.
 */
import { execFile } from 'node:child_process';
import { AtollError } from '#protocol/errors.ts';
import { type GpuFacts, openNvml } from './nvml.ts';

/** One thing that CUDA computes on. */
export interface GpuChoice {
  /** Short, and the same from start to start: names the key file. `gpu0`, `gpu0-mig1`. */
  label: string;
  /** For CUDA_VISIBLE_DEVICES. */
  uuid: string;
  name: string;
}

const listMsMax = 10_000;
const gpusMax = 64;

/** Throws `no_device` where there are none to be found at all. */
export async function listGpus(env: NodeJS.ProcessEnv = process.env): Promise<GpuFacts[]> {
  const nvml = openNvml(env);
  const found = nvml ? nvml.gpus() : parseList(await listBySmi());
  nvml?.close();
  if (found.length > 0) return found;
  throw new AtollError(
    'no_device',
    '--gpus: no NVIDIA graphics processor was found. Check that `nvidia-smi -L` lists it, or leave --gpus out.',
  );
}

function listBySmi(): Promise<string> {
  return new Promise((resolve) => {
    execFile('nvidia-smi', ['-L'], { timeout: listMsMax, maxBuffer: 1 << 20 }, (error, stdout) =>
      resolve(error ? '' : stdout),
    );
  });
}

/** The output of `nvidia-smi -L`. */
export function parseList(text: string): GpuFacts[] {
  const gpus: GpuFacts[] = [];
  for (const line of text.split('\n')) {
    const whole = /^GPU (\d+): (.+) \(UUID: (GPU-[0-9a-fA-F-]+)\)/.exec(line);
    const part = /^\s+MIG .*Device\s+(\d+): \(UUID: (MIG-[0-9a-zA-Z/-]+)\)/.exec(line);
    const last = gpus.at(-1);
    if (whole) {
      const [, index, name, uuid] = whole as unknown as [string, string, string, string];
      gpus.push({ index: Number(index), uuid, name, instances: [], isMig: false });
    } else if (part && last) {
      last.instances.push({ index: Number(part[1]), uuid: part[2] as string });
      last.isMig = true;
    }
  }
  return gpus;
}

/** Throws `bad_config` naming what is there. */
export function selectGpus(spec: string, gpus: readonly GpuFacts[]): GpuChoice[] {
  const all = gpus.flatMap(choicesOf);
  const wanted =
    spec.trim() === 'all' ? all : spec.split(',').flatMap((part) => select(part.trim(), gpus, all));
  const chosen = [...new Map(wanted.map((choice) => [choice.uuid, choice])).values()];
  if (chosen.length === 0) throw unknown(spec, 'it has no MIG instance yet', all);
  return chosen.slice(0, gpusMax);
}

function choicesOf({ index, uuid, name, instances, isMig }: GpuFacts): GpuChoice[] {
  if (!isMig) return [{ label: `gpu${index}`, uuid, name }];
  return instances.map((each) => ({
    label: `gpu${index}-mig${each.index}`,
    uuid: each.uuid,
    name: `${name} MIG ${each.index}`,
  }));
}

/** An index (`0`), an instance of a processor (`0:1`), a UUID or its beginning. */
function select(part: string, gpus: readonly GpuFacts[], all: readonly GpuChoice[]): GpuChoice[] {
  const [, index, instance] = /^(\d{1,3})(?::(\d{1,3}))?$/.exec(part) ?? [];
  if (index !== undefined) {
    const label = instance === undefined ? `gpu${index}` : `gpu${index}-mig${instance}`;
    const found = all.filter(
      (each) => each.label === label || (instance === undefined && each.label.startsWith(`${label}-`)),
    );
    if (found.length > 0 || gpus.some((gpu) => gpu.index === Number(index) && gpu.isMig && !instance))
      return found;
    throw unknown(part, 'there is none of that number', all);
  }
  if (!/^(GPU|MIG)-[0-9a-zA-Z/-]{4,90}$/.test(part)) throw unknown(part, 'it is no index and no UUID', all);
  const named = all.filter(({ uuid }) => uuid.startsWith(part));
  const cut = gpus.find((gpu) => gpu.isMig && gpu.uuid.startsWith(part));
  const found = named.length === 0 && cut ? choicesOf(cut) : named;
  if (found.length === 0) throw unknown(part, 'there is none of that UUID', all);
  if (found.length > 1 && !cut) throw unknown(part, 'several begin so', all);
  return found;
}

function unknown(part: string, why: string, all: readonly GpuChoice[]): AtollError {
  const there = all.map(({ label, uuid }) => `${label.slice(3).replace('-mig', ':')} (${uuid})`).join(', ');
  return new AtollError(
    'bad_config',
    `--gpus: "${part}" names no graphics processor: ${why}. There are: ${there || 'none'}.`,
  );
}
