/**
 * Signatures checked on a second thread once there are many: a quarter of what a replica costs, and nothing else needs to wait for it. A small network
 * never starts the thread; one whose thread fails checks them where it is.
 */
import { Worker } from 'node:worker_threads';
import { AtollError } from '#protocol/errors.ts';
import type { SignedKind, SignedMessages } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import type { Clock, Logger } from './ports.ts';
import type { SignatureAnswers, SignatureJob, SignatureJobs } from './signature-thread.ts';
import { signatureCheck, type VerifySignature } from './signatures.ts';

/** Waking the thread costs as much as half a check, so checks are sent to it together: so many, or those of so long. */
const batchMax = 64;
const batchMs = 2;
/** Checks within a second from which on the thread is worth its 20 MB. */
const busyPerSecond = 500;

interface Waiting {
  job: SignatureJob;
  resolve: () => void;
  reject: (error: AtollError) => void;
}

export interface SignaturePoolPorts {
  network: Hex;
  clock: Clock;
  log: Logger;
  busyPerSecond?: number;
}

export class SignaturePool {
  readonly #ports: SignaturePoolPorts;
  readonly #here: VerifySignature;
  #second = { from: -Infinity, checks: 0 };
  #thread: Worker | null = null;
  #failed = false;
  #queue: Waiting[] = [];
  #timer: NodeJS.Timeout | null = null;
  /** Batches that the thread has, oldest first: it answers in order. */
  #sent: Waiting[][] = [];

  constructor(ports: SignaturePoolPorts) {
    this.#ports = ports;
    this.#here = signatureCheck(ports.network);
  }

  get hasThread(): boolean {
    return this.#thread !== null;
  }

  /** Throws `bad_signature` unless `contributor` signed the message on this network. */
  readonly verify: VerifySignature = (kind, message, signature, contributor) => {
    if (!this.#isBusy()) return this.#here(kind, message, signature, contributor);
    return this.#there({ kind, message, signature, contributor });
  };

  async close(): Promise<void> {
    this.#failed = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#thread?.terminate();
    this.#thread = null;
    this.#checkHere();
  }

  /** Once busy, it stays so: a thread that is there costs nothing more. */
  #isBusy(): boolean {
    if (this.#failed) return false;
    if (this.#thread) return true;
    const now = this.#ports.clock.now();
    if (now - this.#second.from >= 1_000) this.#second = { from: now, checks: 0 };
    this.#second.checks++;
    if (this.#second.checks <= (this.#ports.busyPerSecond ?? busyPerSecond)) return false;
    this.#start();
    return true;
  }

  #start(): void {
    const thread = new Worker(new URL('./signature-thread.ts', import.meta.url));
    thread.unref();
    thread.on('message', (answers: SignatureAnswers) => this.#settle(answers));
    thread.on('error', (err) => {
      this.#ports.log.warn({ err }, 'The thread that checks signatures failed; going on without it.');
      this.#failed = true;
      this.#thread = null;
      this.#checkHere();
    });
    this.#thread = thread;
  }

  #there(job: SignatureJob): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#queue.push({ job, resolve, reject }) >= batchMax) this.#flush();
      else this.#timer ??= setTimeout(() => this.#flush(), batchMs);
    });
  }

  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const batch = this.#queue;
    if (batch.length === 0 || !this.#thread) return;
    this.#queue = [];
    this.#sent.push(batch);
    const jobs: SignatureJobs = { network: this.#ports.network, jobs: batch.map(({ job }) => job) };
    // As text it is cloned in a quarter of the time.
    this.#thread.postMessage(JSON.stringify(jobs));
  }

  #settle(answers: SignatureAnswers): void {
    const batch = this.#sent.shift() ?? [];
    batch.forEach(({ resolve, reject }, i) => {
      const fault = answers[i];
      if (fault === null) resolve();
      else reject(new AtollError('bad_signature', fault ?? 'The signature could not be checked.'));
    });
  }

  /** What the thread took with it. */
  #checkHere(): void {
    const left = [...this.#sent.flat(), ...this.#queue];
    this.#sent = [];
    this.#queue = [];
    for (const { job, resolve, reject } of left) {
      const { kind, message, signature, contributor } = job;
      this.#here(kind as SignedKind, message as SignedMessages[SignedKind], signature, contributor).then(
        resolve,
        reject,
      );
    }
  }
}
