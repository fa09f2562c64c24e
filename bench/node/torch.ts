/** PyTorch in a process of its own, told by lines what to run: see peers/gpt2_step.py. The interpreter is python3, or the one named by ATOLL_PYTHON. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { AtollError } from '#protocol/errors.ts';

const script = fileURLToPath(new URL('./peers/gpt2_step.py', import.meta.url));
const probe = 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)';

export interface TorchVersions {
  torch: string;
  cuda: string;
  gpu: string;
}

interface Steps {
  seconds: number;
  losses: number[];
}

/** Throws `no_device` where PyTorch or a GPU for it is missing. */
export async function openTorch(words: readonly number[]): Promise<Torch> {
  const python = process.env['ATOLL_PYTHON'] ?? 'python3';
  const { status } = spawnSync(python, ['-c', probe], { stdio: 'ignore', timeout: 120_000 });
  if (status === 3) throw new AtollError('no_device', `The PyTorch of ${python} finds no CUDA GPU.`);
  if (status !== 0) {
    throw new AtollError(
      'no_device',
      `${python} has no PyTorch: install torch, or name a Python by ATOLL_PYTHON.`,
    );
  }
  const torch = new Torch(spawn(python, [script, ...words.map(String)]));
  await torch.opened();
  return torch;
}

export class Torch {
  versions: TorchVersions = { torch: '', cuda: '', gpu: '' };
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: AsyncIterator<string>;
  private said = '';

  constructor(child: ChildProcessWithoutNullStreams) {
    this.child = child;
    this.lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    child.stderr.on('data', (chunk: Buffer) => (this.said = (this.said + chunk.toString()).slice(-2000)));
    child.stdin.on('error', () => {}); // It ended: the missing answer tells.
  }

  async opened(): Promise<void> {
    this.versions = (await this.answer()) as TorchVersions;
  }

  /** That many steps of `f32` or `bf16`. */
  async steps(kind: 'f32' | 'bf16', count: number): Promise<Steps> {
    this.child.stdin.write(`${kind} ${count}\n`);
    return (await this.answer()) as Steps;
  }

  close(): void {
    this.child.kill();
  }

  private async answer(): Promise<unknown> {
    const { done, value } = await this.lines.next();
    if (done) throw new Error(`PyTorch ended: ${this.said.trim().split('\n').at(-1) ?? ''}`);
    return JSON.parse(value);
  }
}
