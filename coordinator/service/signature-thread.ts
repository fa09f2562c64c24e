/** Checks batches of signatures beside the thread that serves: see signature-pool.ts. */
import { parentPort } from 'node:worker_threads';
import { toProblem } from '#protocol/errors.ts';
import type { SignedKind, SignedMessages } from '#protocol/messages/contribution.ts';
import type { Hex } from 'viem';
import { signatureCheck } from './signatures.ts';

export interface SignatureJob {
  kind: SignedKind;
  message: SignedMessages[SignedKind];
  signature: Hex;
  contributor: Hex;
}

export interface SignatureJobs {
  network: Hex;
  jobs: SignatureJob[];
}

/** In the order of the jobs: null for a signature that holds, else why it does not. */
export type SignatureAnswers = (string | null)[];

parentPort?.on('message', (text: string) => {
  const { network, jobs } = JSON.parse(text) as SignatureJobs;
  const verify = signatureCheck(network);
  const answers = jobs.map(({ kind, message, signature, contributor }) =>
    verify(kind, message, signature, contributor).then(
      () => null,
      (error: unknown) => toProblem(error).detail,
    ),
  );
  void Promise.all(answers).then((all: SignatureAnswers) => parentPort?.postMessage(all));
});
