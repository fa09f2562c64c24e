/** What is done with a job that has just been given, before anything of it is written. */
import { linkOf, parseValue } from '#protocol/codec/cbor.ts';
import type { Cid } from '#protocol/codec/cid.ts';
import { AtollError } from '#protocol/errors.ts';
import type { BlockStore } from '#protocol/messages/file.ts';
import { type Job, jobSchema } from '#protocol/messages/job.ts';
import type { Blobs } from '../storage/blobs.ts';

/** Throws `bad_input` naming what is wrong with a job. */
export function checkJob(job: Job): Job {
  try {
    const { size, blocks } = job.corpus;
    return parseValue(jobSchema, { ...job, corpus: { size, blocks: blocks.map(linkOf) } });
  } catch (cause) {
    throw new AtollError('bad_input', `The job is not usable: ${(cause as Error).message}`, { cause });
  }
}

/** A store that notes what is put into it. */
export function recorder(blobs: Blobs, cids: Cid[]): BlockStore {
  return {
    get: (cid, signal) => blobs.get(cid, signal),
    async put(bytes, code) {
      const cid = await blobs.put(bytes, code);
      cids.push(cid);
      return cid;
    },
  };
}
